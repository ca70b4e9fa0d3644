"""The stage that keeps the LB maps. Called by `node`, which applies.

A lookup goes from the frontend (slot 0) to a slot to a backend, so they are written the other way round and removed
in the lookup's order: at no moment does a lookup meet a slot or a backend that is not there. What a frontend's flags
promise (source ranges, affinity, the view from inside) is there before the flags are.
"""

import itertools
from collections.abc import Callable, Iterable

import structlog

from seta_agent.bpf.errors import BpfError
from seta_agent.bpf.maps import Map
from seta_agent.desired import hostports, lb, lbids
from seta_agent.desired.encode import Dtype, field_of
from seta_agent.desired.lbids import Owner
from seta_agent.desired.lbnode import NodeView
from seta_agent.programmer.hostports import HostPorts
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.maglevtables import MaglevTables
from seta_agent.programmer.maps import MapReconciler
from seta_agent.settings import Settings
from seta_agent.tables import Service, Tables

AT_ONCE = 512  # services turned into entries together: enough to be quick, few enough to need little memory
TABLES_AT_ONCE = 64  # Maglev tables made in one pass: they take 2 ms each, and others wait
Row = tuple[Owner, Service | None]
log = structlog.get_logger()


class ServiceStage:
    """Owns the numbers of backends and of this node's own frontends; dirty are services changed since the last pass."""

    def __init__(self, settings: Settings, tables: Tables, wake: Callable[[], None]) -> None:
        self._settings = settings
        self._table = tables.services
        self._hosts = HostPorts(tables, wake)
        self._ids = lbids.BackendIds()
        self._numbers = lbids.FrontendIds()
        self._tables: dict[str, MaglevTables] = {}  # map -> its tables
        self._view: NodeView | None = None  # what the entries were made for
        self._lacking = 0  # services without numbers, as told last
        self._dirty: set[Owner] = set()
        self._wake = wake
        self._table.subscribe(self._changed, wake)

    def _changed(self, key: Owner) -> None:
        self._dirty.add(key)
        self._wake()

    def recheck(self) -> None:
        """Look at every service again."""
        self._dirty |= set(self._table.keys())
        self._hosts.recheck()

    def reread(self) -> None:
        """Take nothing for granted of the maps that have no reconciler."""
        for tables in self._tables.values():
            tables.read()

    def restore(self, maps: KernelMaps) -> None:
        """Take over the numbers that the kernel knows. For maps that were just opened."""
        self.close()
        for names in lb.FAMILIES:
            self._ids.restore(_known_backends(maps.reconciler(names.backends).map))
            self._numbers.restore(_known_frontends(maps.reconciler(names.services).map))
            self._tables[names.maglev] = MaglevTables(self._settings, maps, names.maglev, self._ids)

    def close(self) -> None:
        for tables in self._tables.values():
            tables.close()
        self._tables.clear()

    def apply(self, maps: KernelMaps, view: NodeView) -> int:
        """Bring the kernel up to date: how many entries changed. `BpfError` leaves the rest for the next pass."""
        if view != self._view:
            self._view = view
            self.recheck()
        if self._numbers.lacking and self._numbers.has_room:
            self._dirty |= self._numbers.lacking & self._table.keys()
            self._hosts.recheck()
        dirty, self._dirty = self._dirty, set()
        try:
            self._want(maps, view, itertools.chain(self._rows(dirty), self._hosts.take(view.name)))
        except BpfError:
            self._dirty |= dirty
            self._hosts.recheck()
            raise
        if self._table.synced and self._hosts.synced:
            self._complete(maps)
        self._tell()
        return self._apply(maps)

    def host_ports(self) -> list[Service]:
        """Host ports of this node's pods, for reading; with the numbers that their frontends have here."""
        view = self._view
        if view is None:
            return []
        return [hostports.numbered(row, view.addresses, self._numbers.number) for row in self._hosts.rows(view.name)]

    @property
    def _tables_pending(self) -> bool:
        return any(tables.pending for tables in self._tables.values())

    def _rows(self, owners: Iterable[Owner]) -> Iterable[Row]:
        return ((owner, self._table.get(owner)) for owner in owners)

    def _want(self, maps: KernelMaps, view: NodeView, rows: Iterable[Row]) -> None:
        """Tell the reconcilers what these services contribute."""
        layouts = {name: maps.layout(name) for name in lb.MAPS}
        every = iter(rows)
        while some := list(itertools.islice(every, AT_ONCE)):
            wanted = lb.contributions(some, view, self._ids, self._numbers, layouts)
            for name, by_owner in wanted.entries.items():
                reconciler = maps.reconciler(name)
                for owner, entries in by_owner.items():
                    reconciler.set(owner, entries)
            for name, tables in wanted.tables.items():
                for owner, one in tables.items():
                    self._tables[name].set(owner, one)

    def _complete(self, maps: KernelMaps) -> None:
        self._numbers.prune()
        for name in lb.MAPS:
            maps.reconciler(name).complete()
        for tables in self._tables.values():
            tables.complete()

    def _tell(self) -> None:
        lacking = self._numbers.lacking
        if lacking and len(lacking) != self._lacking:
            some = ["/".join(owner) for owner in sorted(lacking)[:10]]
            log.warning("frontends_without_number", services=len(lacking), some=some, last=lbids.LAST)
        self._lacking = len(lacking)

    def _apply(self, maps: KernelMaps) -> int:
        every = [maps.reconciler(name) for name in lb.MAPS]
        if not (any(one.pending for one in every) or self._tables_pending):
            return 0
        services = [maps.reconciler(names.services) for names in lb.FAMILIES]
        backends = [maps.reconciler(names.backends) for names in lb.FAMILIES]
        others = [one for one in every if one not in services and one not in backends]
        changed = sum(one.write() for one in (*backends, *others))
        changed += sum(tables.write(TABLES_AT_ONCE) for tables in self._tables.values())
        changed += sum(_write(one) for one in services)
        changed += sum(_delete(one) for one in services)
        changed += sum(tables.delete() for tables in self._tables.values())
        changed += sum(len(one.delete()) for one in others)
        for one in backends:
            gone = one.delete()
            changed += len(gone)
            for key in gone:
                self._ids.release(int.from_bytes(key, "little"))
        for one in every:
            one.settle()
        if self._tables_pending:
            self._wake()
        return changed


def _write(services: MapReconciler) -> int:
    """Slots, then the fronts as seen from inside, then those that say whether to look there."""
    place = _place_of(services.map.key)
    changed = services.write(lambda key: place(key)[0] != 0)
    changed += services.write(lambda key: place(key) == (0, lb.INTERNAL))
    return changed + services.write()


def _delete(services: MapReconciler) -> int:
    place = _place_of(services.map.key)
    changed = len(services.delete(lambda key: place(key) == (0, lb.EXTERNAL)))
    changed += len(services.delete(lambda key: place(key) == (0, lb.INTERNAL)))
    return changed + len(services.delete())


def _place_of(key: Dtype) -> Callable[[bytes], tuple[int, int]]:
    """(slot, scope) of a key."""
    slot, scope = field_of(key, "backend_slot")[1], field_of(key, "scope")[1]
    return lambda raw: (raw[slot] | raw[slot + 1] << 8, raw[scope])


def _known_backends(found: Map) -> dict[int, lbids.BackendKey]:
    keys, values = found.dump()
    addresses = lb.addresses(values)
    return {
        int(number): (address, int(value["port"]), int(value["proto"]))
        for number, address, value in zip(keys, addresses, values, strict=True)
    }


def _known_frontends(found: Map) -> dict[lbids.FrontendKey, int]:
    """Those of which the node gave the number; what stands for any address comes last: it has another one's."""
    keys, values = found.dump()
    own = (keys["backend_slot"] == 0) & (values["rev_nat_index"] >= lbids.FIRST)
    keys, values = keys[own], values[own]
    places = zip(lb.addresses(keys), keys, values, strict=True)
    listed = [((at, int(key["dport"]), int(key["proto"])), int(value["rev_nat_index"])) for at, key, value in places]
    return dict(sorted(listed, key=lambda one: one[0][0].is_unspecified))
