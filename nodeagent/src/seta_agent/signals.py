"""Waiting for facts that tables will hold: one wake-up for everybody who waits, no polling.

Used by the CNI (waits for a pod, an identity, a selector set) and by the background tasks that follow tables. Changes
come in bursts; a waiter looks at the tables once per turn of the event loop, however many rows changed.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from seta_agent.tables import Table

Fact = TypeVar("Fact")


class Signal:
    """Fires whenever one of its tables changes. No locks: tables and waiters live in one event loop."""

    def __init__(self, *tables: Table) -> None:  # type: ignore[type-arg]
        self._changed = asyncio.Event()
        for table in tables:
            table.subscribe(self.fire)

    def fire(self, _key: object = None) -> None:
        self._changed.set()

    async def wait(self) -> None:
        """Returns after the next change."""
        current = self._changed
        await current.wait()
        if self._changed is current:  # the first waiter to wake makes a new event for the next change
            self._changed = asyncio.Event()

    async def until(self, fact: Callable[[], Fact | None], seconds: float) -> Fact:
        """The first answer of `fact` that is not None. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while (answer := fact()) is None:
                await self.wait()
        return answer
