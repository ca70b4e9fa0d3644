"""The stage that keeps the LB maps: services, backends and reverse NAT. Called by `node`, which applies.

A lookup goes from the frontend (slot 0) to a slot to a backend, so they are written the other way round and removed
in the lookup's order: at no moment does a lookup meet a slot or a backend that is not there.
"""

from collections.abc import Callable

from seta_agent.bpf.maps import Map
from seta_agent.desired import lb
from seta_agent.desired.encode import Dtype, field_of
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.maps import MapReconciler
from seta_agent.tables import Tables

AT_ONCE = 512  # services turned into entries together: enough to be quick, few enough to need little memory


class ServiceStage:
    """Owns the backend ids; dirty are the services changed since the last pass."""

    def __init__(self, tables: Tables, wake: Callable[[], None]) -> None:
        self._table = tables.services
        self._ids = lb.BackendIds()
        self._dirty: set[lb.Owner] = set()
        self._wake = wake
        self._table.subscribe(self._changed, wake)

    def _changed(self, key: lb.Owner) -> None:
        self._dirty.add(key)
        self._wake()

    def recheck(self) -> None:
        """Look at every service again."""
        self._dirty |= set(self._table.keys())

    def restore(self, maps: KernelMaps) -> None:
        """Take over the ids of the backends that the kernel knows."""
        for names in lb.FAMILIES:
            self._ids.restore(_known_backends(maps.reconciler(names.backends).map))

    def apply(self, maps: KernelMaps) -> int:
        """Bring the kernel up to date: how many entries changed. `BpfError` leaves the rest for the next pass."""
        dirty, self._dirty = list(self._dirty), set()
        layouts = {name: maps.layout(name) for names in lb.FAMILIES for name in _maps(names)}
        for first in range(0, len(dirty), AT_ONCE):
            some = [(owner, self._table.get(owner)) for owner in dirty[first : first + AT_ONCE]]
            for name, by_owner in lb.contributions(some, self._ids, layouts).items():
                reconciler = maps.reconciler(name)
                for owner, entries in by_owner.items():
                    reconciler.set(owner, entries)
        if self._table.synced:
            for name in layouts:
                maps.reconciler(name).complete()
        return sum(self._apply_family(maps, names) for names in lb.FAMILIES)

    def _apply_family(self, maps: KernelMaps, names: lb.Names) -> int:
        services, backends, reverse = (maps.reconciler(name) for name in _maps(names))
        if not (services.pending or backends.pending or reverse.pending):
            return 0
        is_front = _front_of(services.map.key)
        changed = backends.write() + reverse.write()
        changed += services.write(lambda key: not is_front(key))
        changed += services.write(is_front)
        changed += len(services.delete(is_front))
        changed += len(services.delete(lambda key: not is_front(key)))
        changed += len(reverse.delete())
        gone = backends.delete()
        for key in gone:
            self._ids.release(int.from_bytes(key, "little"))
        _settle(services, backends, reverse)
        return changed + len(gone)


def _maps(names: lb.Names) -> tuple[str, str, str]:
    return names.services, names.backends, names.reverse


def _settle(*reconcilers: MapReconciler) -> None:
    for reconciler in reconcilers:
        reconciler.settle()


def _front_of(key: Dtype) -> Callable[[bytes], bool]:
    """Whether a key is that of slot 0."""
    offset = field_of(key, "backend_slot")[1]
    return lambda raw: raw[offset : offset + 2] == b"\0\0"


def _known_backends(found: Map) -> dict[int, lb.BackendKey]:
    keys, values = found.dump()
    addresses = lb.addresses(values)
    return {
        int(number): (address, int(value["port"]), int(value["proto"]))
        for number, address, value in zip(keys, addresses, values, strict=True)
    }
