"""Whether the node is ready, since when, and otherwise what it waits for. One sentence for probes and `seta status`."""

import asyncio
from typing import Any, Protocol

from seta_agent import process
from seta_agent.tables import Table, Tables

STEP_SECONDS = 0.01


class Programmer(Protocol):
    @property
    def synced(self) -> bool: ...

    def status(self) -> dict[str, Any]: ...


class Readiness:
    """Ready for the first time when every watch has listed and the kernel holds what follows from that.

    After the first time only the datapath counts: an API server's absence changes nothing.
    """

    def __init__(self, tables: Tables, programmer: Programmer, node_name: str) -> None:
        self._nodes = tables.nodes
        self._tables: list[Table] = [  # type: ignore[type-arg]
            table for table in vars(tables).values() if isinstance(table, Table)
        ]
        self._programmer = programmer
        self._node_name = node_name
        self.seconds = 0.0  # from the process's start to readiness; 0: not ready yet

    async def wait(self) -> None:
        while self.sentence():  # noqa: ASYNC110 - flags of several owners, for less than a second
            await asyncio.sleep(STEP_SECONDS)
        self.seconds = process.age_seconds()

    def sentence(self) -> str:
        """Empty when ready."""
        return ("" if self.seconds else self._waits_for()) or ("" if self._programmer.synced else self.trouble())

    def trouble(self) -> str:
        """Why the datapath is not, or not wholly, programmed."""
        failure = self._programmer.status()["failure"]
        return f"the datapath is not programmed: {failure}" if failure else self._not_yet()

    def _not_yet(self) -> str:
        return "" if self._programmer.synced else "the datapath is not programmed yet"

    def _waits_for(self) -> str:
        missing = [table.name for table in self._tables if not table.synced]
        if missing:
            return f"waiting for the API server to list {', '.join(missing)}"
        own = self._nodes.get(self._node_name)
        if own is None or not own.pod_cidrs:
            return f"node {self._node_name} has no pod CIDR yet; is seta-operator running?"
        return ""
