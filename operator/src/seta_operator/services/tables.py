"""Services: each gets a ServiceTable with its frontends and backends.

A frontend keeps its number for its life, and a backend that is no longer ready its connections. Both are read from the
ServiceTables, which are this service's only memory.
"""

import structlog

from seta_crds import names
from seta_operator.services import claims, frontends
from seta_operator.services.subject import Subject
from seta_operator.services.tablesize import Size
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

USUAL = frontends.Options()
log = structlog.get_logger()


class Tables(Subject[Key]):
    """Marked with (namespace, name) of Services."""

    name = "services"
    delay = 0.02  # pods come and go in bursts, and each changes a whole table

    def __init__(self, cluster: Cluster, writer: Writer, options: frontends.Options = USUAL) -> None:
        super().__init__()
        self._cluster, self._writer, self._options = cluster, writer, options
        self._claims, self._size = claims.Claims(), Size(cluster, writer)
        self._refused: dict[Key, dict[frontends.Frontend, Key]] = {}  # service -> frontend another has -> who; as told
        self._without: set[Key] = set()  # services that lack numbers, to be tried when some are given back
        cluster.listen(names.SERVICE, lambda key, _before, _after: self.mark(key))
        cluster.listen(names.SERVICE_TABLE, lambda key, _before, _after: self.mark(key))
        cluster.listen(names.ENDPOINT_SLICE, self._slice_changed)

    def start(self) -> None:
        """Claim the numbers that are written, then look at every service."""
        written = self._cluster.owned(names.SERVICE_TABLE)
        living = {frontend for key in self._cluster.services.known() for frontend in self._wanted(key)}
        for _, held in sorted(written.items()):
            for port in held.content.get("spec", {}).get("ports", []):
                for front in port["frontends"]:
                    frontend = (front["address"], front["port"], port["protocol"])
                    if frontend in living:
                        self._claims.restore(frontend, front["id"])
        for key in self._cluster.services.known() | written.known():
            self.mark(key)

    async def apply(self, keys: set[Key]) -> set[Key]:
        """Write the tables of these services, and of those that get or lose a frontend by them."""
        touched: set[Key] = set()
        for key in sorted(keys):
            service = self._cluster.services.get(key)
            touched |= self._claims.ask(key, service.created if service else "", self._wanted(key))
        if self._claims.release():
            touched |= self._without
        wanted: dict[Key, facts.JSON | None] = {}
        for key in sorted(keys | touched):
            try:
                wanted[key] = self._table(key)
            except ValueError as error:  # the table stays as it is
                log.warning("service.unreadable", namespace=key[0], name=key[1], error=str(error))
        failed = await self._writer.ensure(names.SERVICE_TABLE, wanted)
        large = {key for key in failed if (names.SERVICE_TABLE, key) in self._writer.too_large}
        return failed - large | await self._size.tell(wanted.keys(), large)  # such a one waits for a change

    def _wanted(self, key: Key) -> dict[frontends.Frontend, str]:
        """What a service asks for: frontend -> type; nothing where it is not ours to serve."""
        service = self._served(key)
        return frontends.of(service) if service else {}

    def _served(self, key: Key) -> facts.Service | None:
        service = self._cluster.services.get(key)
        return service if service and frontends.is_served(service, self._options.proxy_name) else None

    def _table(self, key: Key) -> facts.JSON | None:
        service = self._served(key)
        found, without = self._claims.numbers(key)
        self._tell(key, without)
        if service is None:
            return None
        written = self._cluster.owned(names.SERVICE_TABLE).get(key)
        before = written.content if written else {}
        slices = self._cluster.slices(key)
        return frontends.table(key[1], service, slices, found, self._options, before=before)

    def _tell(self, key: Key, without: list[frontends.Frontend]) -> None:
        """What a service asks for and does not get, once."""
        refused = self._claims.taken(key)
        told = self._refused.pop(key, {})
        if refused:
            self._refused[key] = refused
        own = log.bind(namespace=key[0], name=key[1])
        for frontend, holder in refused.items():
            if told.get(frontend) != holder:
                own.warning("service.frontend_taken", frontend=_text(frontend), by="/".join(holder))
        if without and key not in self._without:
            own.warning("service.without_number", frontends=[_text(one) for one in without], last=claims.LAST)
            self._without.add(key)
        elif not without:
            self._without.discard(key)

    def _slice_changed(self, key: Key, before: facts.EndpointSlice | None, after: facts.EndpointSlice | None) -> None:
        for piece in (before, after):
            if piece is not None and piece.service:
                self.mark((key[0], piece.service))


def _text(frontend: frontends.Frontend) -> str:
    """As people write it: 198.51.100.7:80/TCP."""
    address, port, protocol = frontend
    return f"[{address}]:{port}/{protocol}" if ":" in address else f"{address}:{port}/{protocol}"
