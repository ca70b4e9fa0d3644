"""A subject: what changed is marked, and one task decides and writes. Everything level-based hangs on this.

Handlers only mark keys. The task takes what is marked, computes what is wanted from the tables, and writes the
difference; what could not be written is marked again, later and later. There is one task per subject, so a
subject's own state needs no lock.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import structlog

K = TypeVar("K")
FIRST_RETRY, LAST_RETRY = 0.05, 5.0  # seconds
log = structlog.get_logger()


class Subject(ABC, Generic[K]):
    """One subject of decisions. Subclasses say what is marked (K) and how it is applied."""

    name: str
    delay = 0.0  # seconds to wait for more of the same after the first mark

    def __init__(self) -> None:
        self._marked: set[K] = set()
        self._wake = asyncio.Event()
        self.busy = False  # for the health endpoint and tests: something is marked or being applied

    def mark(self, key: K) -> None:
        """Have the key looked at."""
        self._marked.add(key)
        self.busy = True
        self._wake.set()

    @abstractmethod
    def start(self) -> None:
        """Called once, when the tables hold the whole cluster: take over what was decided before, mark everything."""

    @abstractmethod
    async def apply(self, keys: set[K]) -> set[K]:
        """Decide and write for these keys; returns those to be tried again."""

    async def run(self) -> None:
        """Apply what is marked, for ever."""
        self.start()
        retry = FIRST_RETRY
        while True:
            await self._wake.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            keys, self._marked = self._marked, set()
            self._wake.clear()
            failed = await self.apply(keys)
            if failed:
                log.info("apply.again", subject=self.name, keys=len(failed), seconds=retry)
                asyncio.get_running_loop().call_later(retry, self._mark_all, failed)
                retry = min(retry * 2, LAST_RETRY)
            else:
                retry = FIRST_RETRY
                self.busy = bool(self._marked)

    def _mark_all(self, keys: set[K]) -> None:
        for key in keys:
            self.mark(key)
