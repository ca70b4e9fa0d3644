"""The LB maps of one node in memory, with the layouts of the shipped objects. Stands in for KernelMaps.

After each batch it looks at the maps as a lookup would: whatever a front promises must be there at every moment.
"""

import functools
import itertools
import pathlib

import numpy as np

import seta_agent
from seta_agent.bpf.btf import Btf
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.desired import lb, lbfrontends
from seta_agent.desired.encode import rows
from seta_agent.programmer.maps import MapReconciler

OBJECTS = pathlib.Path(seta_agent.__file__).parent / "objects"


@functools.cache
def layouts():
    """Map -> dtypes of key and value."""
    found = {}
    for path in (OBJECTS / "from_netdev.bpf.o", OBJECTS / "sock.bpf.o"):
        found |= {one.name: (one.key, one.value) for one in Btf(path).maps.values()}
    return found


class FakeMap:
    """One map: what is in it outlives whoever opened it."""

    def __init__(self, name, after):
        self.name, self._after = name, after
        self.key, self.value = layouts()[name]
        self.content = {}  # key -> value
        self.info = self
        self.max_entries = 65536

    def dump(self):
        keys, values = b"".join(self.content), b"".join(self.content.values())
        return np.frombuffer(keys, self.key), np.frombuffer(values, self.value)

    def update(self, keys, values):
        for key, value in zip(rows(keys), rows(values), strict=True):
            if key not in self.content and len(self.content) >= self.max_entries:
                raise BpfError(f"writing {self.name}", Reason.FULL)
            self.content[key] = value
            self._after()

    def delete(self, keys):
        for key in rows(keys):
            del self.content[key]
            self._after()

    def close(self):
        pass


class Table:
    """An inner map."""

    numbers = itertools.count(1)

    def __init__(self, content):
        self.content, self.info = content, self
        self.id = next(self.numbers)

    def close(self):
        pass


class FakeOuter:
    def __init__(self, tables):
        self._tables = tables  # key -> Table, the kernel's
        self.installed = {}
        self.read()

    def read(self):
        self.installed = {key: table.id for key, table in self._tables.items()}

    def install_all(self, inners):
        self._tables |= inners
        self.installed |= {key: inner.id for key, inner in inners.items()}

    def remove_all(self, keys):
        for key in keys:
            del self._tables[key]
            del self.installed[key]

    def close(self):
        pass


class Kernel:
    """Survives agents. `opened()` is what an agent gets."""

    def __init__(self):
        self.maps = {name: FakeMap(name, self._check) for name in lb.MAPS}
        self.tables = {names.maglev: {} for names in lb.FAMILIES}  # map -> key -> Table

    def opened(self):
        return FakeMaps(self)

    def rows(self, name):
        """Pairs of records."""
        return list(zip(*self.maps[name].dump(), strict=True))

    def _check(self):
        for names in lb.FAMILIES:
            slots = {key.tobytes(): value for key, value in self.rows(names.services)}
            for key, front in self.rows(names.services):
                if key["backend_slot"] == 0:
                    self._check_front(names, slots, key, front)

    def _check_front(self, names, slots, key, front):
        backends, reverse = self.maps[names.backends].content, self.maps[names.reverse].content
        for slot in range(1, int(front["count"]) + 1):
            one = _changed(key, "backend_slot", slot)
            assert one in slots, f"slot {slot} of {key} is not there"
            backend = slots[one]["backend_id"].tobytes()
            assert backend in backends, f"the backend of slot {slot} of {key} is not there"
        number = int(front["rev_nat_index"]).to_bytes(2, "big")
        assert number in reverse or not front["count"], f"{key} cannot be translated back"
        if int(front["flags2"]) << 8 & lbfrontends.TWO_SCOPES and key["scope"] == lb.EXTERNAL:
            assert _changed(key, "scope", lb.INTERNAL) in slots, f"{key} is not there from inside"


def _changed(key, field, value):
    """The bytes of a key with one other field."""
    record = np.frombuffer(bytearray(key.tobytes()), key.dtype)
    record[field] = value
    return record.tobytes()


class FakeMaps:
    """Quacks like KernelMaps."""

    def __init__(self, kernel):
        self._kernel = kernel
        self._reconcilers = {}

    def layout(self, name):
        return layouts()[name]

    def reconciler(self, name):
        if name not in self._reconcilers:
            self._reconcilers[name] = MapReconciler(self._kernel.maps[name])
            self._reconcilers[name].read()
        return self._reconcilers[name]

    def outer(self, name):
        return FakeOuter(self._kernel.tables[name])

    def new_table(self, _name, content):
        return Table(content)
