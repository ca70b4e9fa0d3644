"""For every test: in CI, a skip that nobody announced in expected-skips.txt is a failure."""

import os
import pathlib

import pytest

EXPECTED = pathlib.Path(__file__).with_name("expected-skips.txt")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reason in _unexpected(terminalreporter):
        terminalreporter.write_line(f"unexpected skip: {reason}", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and exitstatus == pytest.ExitCode.OK and _unexpected(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unexpected(reporter: pytest.TerminalReporter) -> list[str]:
    if not os.environ.get("CI"):
        return []
    expected = [line for line in EXPECTED.read_text().splitlines() if line and not line.startswith("#")]
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])]
    return [reason for reason in reasons if not any(reason.startswith(known) for known in expected)]
