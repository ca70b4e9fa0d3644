"""Whether the node is ready, since when, and otherwise what it waits for. One sentence for probes and `seta status`."""

import asyncio
from typing import Protocol

from seta_agent import process
from seta_agent.tables import Table, Tables

STEP_SECONDS = 0.01


class Programmer(Protocol):
    @property
    def synced(self) -> bool: ...


class Readiness:
    """Ready for the first time when every watch has listed and the kernel holds what follows from that."""

    def __init__(self, tables: Tables, programmer: Programmer) -> None:
        self._tables: list[Table] = [  # type: ignore[type-arg]
            table for table in vars(tables).values() if isinstance(table, Table)
        ]
        self._programmer = programmer
        self.seconds = 0.0  # from the process's start to readiness; 0: not ready yet

    async def wait(self) -> None:
        while self.sentence():  # noqa: ASYNC110 - flags of several owners, for less than a second
            await asyncio.sleep(STEP_SECONDS)
        self.seconds = process.age_seconds()

    def sentence(self) -> str:
        """Empty when ready. After the first time only the datapath counts: an API server's absence changes nothing."""
        if not self._programmer.synced:
            return "the datapath is not programmed yet"
        missing = [table.name for table in self._tables if not table.synced]
        if missing and not self.seconds:
            return f"waiting for the API server to list {', '.join(missing)}"
        return ""
