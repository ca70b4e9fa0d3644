"""What is said while something takes its time."""

import io

import pytest

from seta_playground.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_step_says_how_long_it_took():
    out = io.StringIO()
    with Progress(out).step("nodes"):
        pass
    assert out.getvalue().endswith("nodes: 0.0 s\n")


def test_a_step_that_fails_says_so():
    out = io.StringIO()
    with pytest.raises(KeyError), Progress(out).step("nodes"):
        raise KeyError
    assert "nodes: failed after 0.0 s" in out.getvalue()


def test_in_a_log_notes_do_not_make_a_line_each():
    out = io.StringIO()
    progress = Progress(out)
    with progress.step("building"):
        for number in range(100):
            progress.note(f"{number} of 100")
    assert len(out.getvalue().splitlines()) == 1


def test_on_a_terminal_notes_rewrite_one_line():
    out = Terminal()
    progress = Progress(out)
    with progress.step("building"):
        progress.note("1 of 2")
    assert "\r\033[K" in out.getvalue()
    assert out.getvalue().count("\n") == 1
