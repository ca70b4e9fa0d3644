"""The stage that keeps the LB maps. Called by `node`, which applies.

Services that changed become entries (`desired.lb`), are let in as far as there is room, and are moved in an order in
which no lookup fails (`servicewrites`).
"""

import itertools
from collections.abc import Callable, Iterable

import structlog

from seta_agent.bpf.errors import BpfError
from seta_agent.bpf.maps import Map
from seta_agent.desired import hostports, lb, lbids
from seta_agent.desired.encode import PROTOCOLS
from seta_agent.desired.lbids import Owner
from seta_agent.desired.lbnode import NodeView
from seta_agent.programmer.hostports import HostPorts
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.maglevtables import MaglevTables
from seta_agent.programmer.room import Room
from seta_agent.programmer.servicewrites import ServiceWrites
from seta_agent.settings import Settings
from seta_agent.tables import Service, Tables

AT_ONCE = 512  # services turned into entries together: enough to be quick, few enough to need little memory
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
        self._room = Room()
        self._served: set[lbids.FrontendKey] = set()  # frontends that an earlier agent left in the maps
        self._free = 0  # entries for which there was room after the last pass
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
        self._served.clear()
        for names in lb.FAMILIES:
            self._ids.restore(_known_backends(maps.reconciler(names.backends).map))
            fronts = _fronts(maps.reconciler(names.services).map)
            self._numbers.restore(_numbered(fronts))
            self._served |= {place for place, _ in fronts}
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
        dirty, self._dirty = self._dirty, set()
        try:
            self._want(maps, view, itertools.chain(self._rows(self._in_order(dirty)), self._hosts.take(view.name)))
        except BpfError:
            self._dirty |= dirty
            self._hosts.recheck()
            raise
        if self._table.synced and self._hosts.synced:
            self._complete(maps)
        self._room.tell()
        self._tell()
        changed = ServiceWrites(maps, self._tables.values(), self._ids).apply()
        if any(tables.pending for tables in self._tables.values()) or self._look_again(maps):
            self._wake()
        return changed

    def host_ports(self) -> list[Service]:
        """Host ports of this node's pods, for reading; with the numbers that their frontends have here."""
        view = self._view
        if view is None:
            return []
        return [hostports.numbered(row, view.addresses, self._numbers.number) for row in self._hosts.rows(view.name)]

    @property
    def left_out(self) -> int:
        """Services that do not fit into the maps."""
        return len(self._room.left_out)

    def _look_again(self, maps: KernelMaps) -> bool:
        """Whether there is something to do for services that lacked room or a number, now that others have gone."""
        before, self._free = self._free, sum(maps.reconciler(name).room for name in lb.MAPS)
        waiting = self._room.left_out if self._free > before else set()
        if self._numbers.has_room:
            waiting = waiting | self._numbers.lacking
        self._dirty |= waiting & self._table.keys()
        if waiting - self._table.keys():
            self._hosts.recheck()
        return bool(waiting)

    def _rows(self, owners: Iterable[Owner]) -> Iterable[Row]:
        return ((owner, self._table.get(owner)) for owner in owners)

    def _want(self, maps: KernelMaps, view: NodeView, rows: Iterable[Row]) -> None:
        """Tell the reconcilers what these services contribute."""
        layouts = {name: maps.layout(name) for name in lb.MAPS}
        every = iter(rows)
        while some := list(itertools.islice(every, AT_ONCE)):
            wanted = lb.contributions(some, view, self._ids, self._numbers, layouts)
            order = [owner for owner, _ in some]
            fitting = self._room.let_in({name: maps.reconciler(name) for name in lb.MAPS}, wanted.entries, order)
            for name, tables in wanted.tables.items():
                for owner in fitting:
                    self._tables[name].set(owner, tables[owner])

    def _in_order(self, owners: Iterable[Owner]) -> list[Owner]:
        """Where not all fit, those that an earlier agent let in go on, and the others come by name."""
        return sorted(owners, key=lambda owner: (not self._was_served(self._table.get(owner)), owner))

    def _was_served(self, row: Service | None) -> bool:
        fronts = ((one, PROTOCOLS[port.protocol]) for port in row.ports for one in port.frontends) if row else ()
        return any((one.address, one.port, protocol) in self._served for one, protocol in fronts)

    def _complete(self, maps: KernelMaps) -> None:
        self._served.clear()
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


def _known_backends(found: Map) -> dict[int, lbids.BackendKey]:
    keys, values = found.dump()
    addresses = lb.addresses(values)
    return {
        int(number): (address, int(value["port"]), int(value["proto"]))
        for number, address, value in zip(keys, addresses, values, strict=True)
    }


def _fronts(found: Map) -> list[tuple[lbids.FrontendKey, int]]:
    """Every frontend with its reverse NAT index."""
    keys, values = found.dump()
    fronts = keys["backend_slot"] == 0
    keys, values = keys[fronts], values[fronts]
    places = zip(lb.addresses(keys), keys, values, strict=True)
    return [((at, int(key["dport"]), int(key["proto"])), int(value["rev_nat_index"])) for at, key, value in places]


def _numbered(fronts: Iterable[tuple[lbids.FrontendKey, int]]) -> dict[lbids.FrontendKey, int]:
    """Those of which the node gave the number; what stands for any address comes last: it has another one's."""
    own = [(place, number) for place, number in fronts if number >= lbids.FIRST]
    return dict(sorted(own, key=lambda one: one[0][0].is_unspecified))
