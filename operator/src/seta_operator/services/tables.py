"""Services: each gets a ServiceTable with its frontends and backends.

A frontend keeps its number for its life. After a restart numbers are read back from the ServiceTables, which are
this service's only memory.
"""

from collections import defaultdict

import structlog

from seta_crds import names
from seta_operator.services import frontends, numbers
from seta_operator.services.subject import Subject
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

log = structlog.get_logger()


class Tables(Subject[Key]):
    """Marked with (namespace, name) of Services."""

    name = "services"

    def __init__(self, cluster: Cluster, writer: Writer) -> None:
        super().__init__()
        self._cluster, self._writer = cluster, writer
        self._numbers = frontends.FrontendNumbers()
        self._of: dict[Key, set[frontends.Frontend]] = {}  # service -> frontends that have numbers
        self._slices: dict[Key, set[Key]] = defaultdict(set)  # service -> its EndpointSlices
        cluster.listen(names.SERVICE, lambda key, _before, _after: self.mark(key))
        cluster.listen(names.SERVICE_TABLE, lambda key, _before, _after: self.mark(key))
        cluster.listen(names.ENDPOINT_SLICE, self._slice_changed)

    def start(self) -> None:
        """Claim the numbers that are written, then look at every service."""
        written = self._cluster.owned(names.SERVICE_TABLE)
        for key, held in sorted(written.items()):
            service = self._cluster.services.get(key)
            living = set(frontends.of(service)) if service is not None and frontends.served(service) else set()
            for port in held.content.get("spec", {}).get("ports", []):
                for front in port["frontends"]:
                    frontend = (front["address"], front["port"], port["protocol"])
                    if frontend in living:
                        self._numbers.claim(frontend, front["id"])
        for slice_key, piece in self._cluster.endpoint_slices.items():
            self._slice_changed(slice_key, None, piece)
        for key in self._cluster.services.known() | written.known():
            self.mark(key)

    async def apply(self, keys: set[Key]) -> set[Key]:
        """Write the tables of these services."""
        wanted: dict[Key, facts.JSON | None] = {}
        gone: set[frontends.Frontend] = set()
        for key in sorted(keys):
            service = self._cluster.services.get(key)
            now = set(frontends.of(service)) if service is not None and frontends.served(service) else set()
            gone |= self._of.pop(key, set()) - now
            if now:
                self._of[key] = now
        for frontend in gone - {frontend for key in keys for frontend in self._of.get(key, ())}:
            self._numbers.release(frontend)
        for key in sorted(keys):
            try:
                wanted[key] = self._table(key)
            except numbers.ExhaustedError as error:
                log.warning("service.without_number", namespace=key[0], name=key[1], error=str(error))
        return await self._writer.ensure(names.SERVICE_TABLE, wanted)

    def _table(self, key: Key) -> facts.JSON | None:
        service = self._cluster.services.get(key)
        if service is None or not frontends.served(service):
            return None
        slices = [self._cluster.endpoint_slices.get(name) for name in sorted(self._slices.get(key, ()))]
        return frontends.table(key[1], service, [piece for piece in slices if piece is not None], self._numbers)

    def _slice_changed(self, key: Key, before: facts.EndpointSlice | None, after: facts.EndpointSlice | None) -> None:
        for piece, present in ((before, False), (after, True)):
            if piece is None or not piece.service:
                continue
            service = (key[0], piece.service)
            if present:
                self._slices[service].add(key)
            else:
                self._slices[service].discard(key)
            self.mark(service)
