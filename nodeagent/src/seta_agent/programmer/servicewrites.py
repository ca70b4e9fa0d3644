"""The order in which the LB maps are written. Called by `services`.

A lookup goes from the frontend (slot 0) to a slot to a backend, so they are written the other way round and removed
in the lookup's order: at no moment does a lookup meet a slot or a backend that is not there. What a frontend's flags
promise (source ranges, affinity, the view from inside) is there before the flags are.
"""

from collections.abc import Callable, Collection

from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.desired import lb
from seta_agent.desired.encode import Dtype, field_of
from seta_agent.desired.lbids import BackendIds
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.maglevtables import MaglevTables
from seta_agent.programmer.maps import MapReconciler

TABLES_AT_ONCE = 64  # Maglev tables made in one pass: they take 2 ms each, and others wait
Part = Callable[[bytes], bool]


class ServiceWrites:
    """One pass over the maps."""

    def __init__(self, maps: KernelMaps, tables: Collection[MaglevTables], ids: BackendIds) -> None:
        self._every = [maps.reconciler(name) for name in lb.MAPS]
        self._services = [maps.reconciler(names.services) for names in lb.FAMILIES]
        self._backends = [maps.reconciler(names.backends) for names in lb.FAMILIES]
        self._others = [one for one in self._every if one not in self._services and one not in self._backends]
        self._tables, self._ids = tables, ids

    def apply(self) -> int:
        """What is wanted comes, and what nobody wants goes: how many entries changed."""
        if not (any(one.pending for one in self._every) or any(one.pending for one in self._tables)):
            return 0
        try:
            changed = self._write()
        except BpfError as error:
            if error.reason is not Reason.FULL:
                raise
            changed = self._delete() + self._write()  # the old and the new do not fit beside each other
        changed += self._delete()
        for one in self._every:
            one.settle()
        return changed

    def _write(self) -> int:
        changed = sum(one.write() for one in (*self._backends, *self._others))
        changed += sum(tables.write(TABLES_AT_ONCE) for tables in self._tables)
        for services in self._services:
            changed += services.write(_slots(services.map.key))
            changed += services.write(_fronts(services.map.key, lb.INTERNAL))
            changed += services.write()
        return changed

    def _delete(self) -> int:
        changed = 0
        for services in self._services:
            changed += len(services.delete(_fronts(services.map.key, lb.EXTERNAL)))
            changed += len(services.delete(_fronts(services.map.key, lb.INTERNAL)))
            changed += len(services.delete())
        changed += sum(tables.delete() for tables in self._tables)
        changed += sum(len(one.delete()) for one in self._others)
        return changed + sum(self._delete_backends(one) for one in self._backends)

    def _delete_backends(self, backends: MapReconciler) -> int:
        gone = backends.delete()
        for key in gone:
            self._ids.release(int.from_bytes(key, "little"))
        return len(gone)


def _slots(key: Dtype) -> Part:
    at = field_of(key, "backend_slot")[1]
    return lambda raw: raw[at : at + 2] != b"\0\0"


def _fronts(key: Dtype, scope: int) -> Part:
    slot, at = field_of(key, "backend_slot")[1], field_of(key, "scope")[1]
    return lambda raw: raw[slot : slot + 2] == b"\0\0" and raw[at] == scope
