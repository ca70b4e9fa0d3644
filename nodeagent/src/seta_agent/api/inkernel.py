"""Answers about what the kernel holds: `seta bpf ...` and `seta map ...`. Part of the backend.

Reading maps is blocking and may be long (half a million connections), so each reads in a thread.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from seta_agent.api import connections, dumps, lbdumps, mapstrings, metrics, views
from seta_agent.api.errors import Answer, NotFoundError, UnavailableError, told
from seta_agent.api.kernel import KernelReader
from seta_agent.desired.endpoints import HOST_ENDPOINT
from seta_agent.monitor import decode
from seta_agent.programmer.node import NodeProgrammer
from seta_agent.settings import Settings
from seta_agent.tables import Tables

Json = dict[str, Any]
POLICY_MAP = "cilium_policy_v2_"
METRICS = "cilium_metrics"


class KernelAnswers:
    """One method per path of the API; each raises NotFoundError or UnavailableError."""

    def __init__(self, settings: Settings, tables: Tables, programmer: NodeProgrammer, kernel: KernelReader) -> None:
        self._directory = settings.maps_dir
        self._tables = tables
        self._programmer = programmer
        self._kernel = kernel

    async def maps(self, *, content: bool) -> list[Json]:
        return await self._read(lambda: [self._map_entry(name, content=content) for name in self._kernel.names()])

    async def map(self, name: str) -> list[Json]:
        return await self._read(lambda: mapstrings.entries(name, *self._programmer.dump_map(name)))

    async def lb(self) -> Json:
        return await self._read(lambda: lbdumps.lb(self._kernel.dump))

    async def maglev(self) -> list[Json]:
        return await self._read(lambda: lbdumps.maglev(self._kernel.inner_words))

    async def maglev_table(self, name: str) -> Json:
        table = None
        if name.isdigit():
            table = await self._read(lambda: lbdumps.maglev_table(self._kernel.inner_words, int(name)))
        if table is None:
            raise NotFoundError(f"service {name} has no Maglev table; see `seta bpf lb maglev list`")
        return {"id": int(name), "table": table}

    async def policy(self, name: str) -> list[Json]:
        number = (
            HOST_ENDPOINT
            if name == str(HOST_ENDPOINT) and self._guards_host()
            else views.by_number(self._tables, name).id
        )
        keys, values = await self._read(lambda: self._kernel.dump(f"{POLICY_MAP}{number:05d}"))
        return self._policy(keys, values)

    async def policies(self) -> list[Json]:
        """Every endpoint's policy map, and the node's own if a policy is for it."""
        numbers = sorted(self._tables.endpoints.keys()) + [HOST_ENDPOINT] * self._guards_host()
        return [
            {
                "endpoint": number,
                "path": str(self._directory / f"{POLICY_MAP}{number:05d}"),
                "entries": await self.policy(str(number)),
            }
            for number in numbers
        ]

    def _guards_host(self) -> bool:
        return (self._directory / f"{POLICY_MAP}{HOST_ENDPOINT}").exists()

    async def ipcache(self) -> list[Json]:
        return await self._read(lambda: dumps.ipcache(*self._kernel.dump("cilium_ipcache_v2")))

    async def ct(self) -> list[Json]:
        return await self._read(lambda: connections.ct(self._kernel.dump))

    async def nat(self) -> list[Json]:
        return await self._read(lambda: connections.nat(self._kernel.dump))

    async def l2_responder(self) -> list[Json]:
        return await self._read(lambda: dumps.l2_responder(self._kernel.dump))

    async def endpoint(self) -> list[Json]:
        return await self._read(lambda: dumps.endpoints(*self._kernel.dump("cilium_lxc")))

    async def metrics(self) -> list[Json]:
        return await self._read(lambda: metrics.metrics(*self._kernel.dump(METRICS), self._names()))

    async def drops(self) -> dict[str, int]:
        """Reason -> packets; none where nothing can be read, as before the first program is loaded."""
        try:
            return await self._read(lambda: metrics.drops(*self._kernel.dump(METRICS), self._names()))
        except (NotFoundError, UnavailableError):
            return {}

    def _names(self) -> decode.Enums:
        return decode.enums(self._kernel.event_enums())

    def _policy(self, keys: Any, values: Any) -> list[Json]:
        return dumps.policy(
            keys, values, lambda number: views.identity_labels(self._tables, number), self._programmer.policies_of
        )

    def _map_entry(self, name: str, *, content: bool) -> Json:
        keys, values = self._kernel.dump(name)
        entry = {"name": name, "entries": len(keys), "errors": self._programmer.map_errors(name), "cache": True}
        return {**entry, "content": mapstrings.entries(name, keys, values)} if content else entry

    async def _read(self, read: Callable[[], Answer]) -> Answer:
        return await asyncio.to_thread(told, read)
