"""Progress on the terminal: every step says how long it took, long ones how far they are.

One Progress is made by cli.py and handed down. On a terminal a running step rewrites its line; in a log it
prints a line when it ends, and at most one every ten seconds meanwhile.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOG_INTERVAL = 10.0  # seconds between two lines of one step where the output is no terminal


class Progress:
    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._began = time.monotonic()
        self._live = self._out.isatty()
        self._last_note = 0.0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Say what is being done and, when it is done, how long it took."""
        began = time.monotonic()
        self._last_note = began
        self._transient(f"{title} ...")
        try:
            yield
        except BaseException:
            self._line(f"{title}: failed after {time.monotonic() - began:.1f} s")
            raise
        self._line(f"{title}: {time.monotonic() - began:.1f} s")

    def note(self, text: str) -> None:
        """How far the running step is; may be called as often as it changes."""
        now = time.monotonic()
        if self._live:
            self._transient(text)
        elif now - self._last_note >= LOG_INTERVAL:
            self._last_note = now
            self._line(f"  {text}")

    def say(self, text: str) -> None:
        """A line of its own, with the time since the command began."""
        self._line(text)

    def elapsed(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._began

    def _line(self, text: str) -> None:
        clear = "\r\033[K" if self._live else ""
        print(f"{clear}[{self.elapsed():6.1f} s] {text}", file=self._out, flush=True)

    def _transient(self, text: str) -> None:
        if self._live:
            print(f"\r\033[K[{self.elapsed():6.1f} s] {text}", end="", file=self._out, flush=True)
