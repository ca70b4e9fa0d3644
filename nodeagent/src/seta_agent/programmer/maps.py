"""One map kept as desired: contributions per owner, the kernel's contents as last read, and the difference between.

Called by the stages (`services`, `identities`, `endpoints`). An owner (a service, a node, an endpoint) says what it
wants in the map, whole; the reconciler finds what changed and moves that, in batches. What is in the kernel and
nobody's goes only once `complete()` was called, that is once every source has been listed: after a restart entries
are corrected, never flushed.
"""

import heapq
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from seta_agent.bpf.errors import BpfError
from seta_agent.bpf.maps import Map
from seta_agent.desired.encode import Array, Dtype, Entries, rows

Owner = tuple[Any, ...]  # owners of one map are comparable; of several claims to a key the smallest owner's counts
Part = Callable[[bytes], bool]  # which keys, where maps are written in an order


class Rivals:
    """The claims to one key. Of thousands (services that share a backend) the first one is found without a search."""

    def __init__(self, owner: Owner, value: bytes) -> None:
        self._values = {owner: value}
        self._order = [owner]  # a heap, also of owners that have left

    def __len__(self) -> int:
        return len(self._values)

    def put(self, owner: Owner, value: bytes) -> None:
        if owner not in self._values:
            heapq.heappush(self._order, owner)
        self._values[owner] = value
        if len(self._order) > 2 * len(self._values) + 8:
            self._order = sorted(self._values)

    def drop(self, owner: Owner) -> None:
        del self._values[owner]

    def first(self) -> tuple[Owner, bytes]:
        while self._order[0] not in self._values:
            heapq.heappop(self._order)
        return self._order[0], self._values[self._order[0]]


class MapReconciler:
    """`ignored`: fields of the value that the datapath counts in; they are neither compared nor kept."""

    def __init__(self, bpf_map: Map, ignored: Iterable[str] = ()) -> None:
        self.map = bpf_map
        self._ignored = tuple(ignored)
        self._kernel: Entries = {}  # key -> value, as last read or written
        self._wanted: Entries = {}  # key -> value
        self._by_owner: dict[Owner, Entries] = {}  # owner -> its entries
        self._holder: dict[bytes, Owner] = {}  # key -> owner whose value is wanted
        self._rivals: dict[bytes, Rivals] = {}  # key -> claims, where there are several
        self._dirty: dict[bytes, None] = {}  # keys to compare, in the order in which they are written
        self.is_complete = False
        self.errors = 0  # batches that the kernel refused
        self.replaced = 0  # entries that got another value while they were there

    def __len__(self) -> int:
        return len(self._kernel)

    @property
    def pending(self) -> bool:
        return bool(self._dirty)

    @property
    def room(self) -> int:
        """How many more entries may be wanted."""
        return self.map.info.max_entries - len(self._wanted)

    def fits(self, owner: Owner, entries: Entries) -> bool:
        """Whether there is room for these, in the place of what the owner has now."""
        old = self._by_owner.get(owner, {})
        freed = sum(key not in entries and key not in self._rivals for key in old)
        return sum(key not in self._wanted for key in entries) - freed <= self.room

    @property
    def has_stale(self) -> bool:
        """Whether the kernel holds what nobody wants."""
        return any(key not in self._wanted for key in self._kernel)

    def kernel_keys(self) -> Iterable[bytes]:
        return self._kernel.keys()

    def get(self, key: bytes) -> bytes | None:
        """What the kernel holds, as last read or written."""
        return self._kernel.get(key)

    def read(self) -> None:
        """Take the kernel's contents as they are; what differs from the wanted is compared again."""
        keys, values = self.map.dump()
        for field in self._ignored:
            values[field] = 0
        self._kernel = dict(zip(rows(keys), rows(values), strict=True))
        if self._kernel != self._wanted:
            differing = (key for key, value in self._wanted.items() if self._kernel.get(key) != value)
            self._dirty.update(dict.fromkeys(differing))
            if self.is_complete:
                self._dirty.update(dict.fromkeys(self._kernel.keys() - self._wanted.keys()))

    def complete(self) -> None:
        """Every source has been listed: what nobody wants now may go."""
        if not self.is_complete:
            self.is_complete = True
            self._dirty.update(dict.fromkeys(self._kernel.keys() - self._wanted.keys()))

    def set(self, owner: Owner, entries: Entries) -> None:
        """All that an owner wants in this map; nothing where it is gone."""
        old = self._by_owner.get(owner, {})
        if entries == old:
            return
        for key in old.keys() - entries.keys():
            self._release(key, owner)
        for key, value in entries.items():
            if old.get(key) != value:
                self._claim(key, owner, value)
        if entries:
            self._by_owner[owner] = entries
        else:
            del self._by_owner[owner]

    def write(self, part: Part | None = None) -> int:
        """Write what is new or changed: how many entries. `BpfError(FULL)` where the map has no room."""
        changed = [
            key
            for key in self._dirty
            if (value := self._wanted.get(key)) is not None
            and self._kernel.get(key) != value
            and (part is None or part(key))
        ]
        if changed:
            values = [self._wanted[key] for key in changed]
            self.replaced += sum(key in self._kernel for key in changed)
            self._move(lambda: self.map.update(self._array(changed, self.map.key), self._array(values, self.map.value)))
            self._kernel.update(zip(changed, values, strict=True))
        return len(changed)

    def delete(self, part: Part | None = None) -> list[bytes]:
        """Delete what nobody wants any more: which keys."""
        gone = [
            key
            for key in self._dirty
            if key not in self._wanted and key in self._kernel and (part is None or part(key))
        ]
        if gone:
            self._move(lambda: self.map.delete(self._array(gone, self.map.key)))
            for key in gone:
                del self._kernel[key]
        return gone

    def settle(self) -> None:
        """Everything has been written and deleted: nothing is left to compare."""
        self._dirty.clear()

    def apply(self) -> int:
        """Write, then delete, where the order among keys does not matter: how many entries changed."""
        changed = self.write() + len(self.delete())
        self.settle()
        return changed

    def _move(self, move: Callable[[], None]) -> None:
        """A batch that fails may be half done: the kernel is read again before anything else is decided."""
        try:
            move()
        except BpfError:
            self.errors += 1
            self.read()
            raise

    def _array(self, entries: list[bytes], dtype: Dtype) -> Array:
        return np.frombuffer(b"".join(entries), dtype)

    def _claim(self, key: bytes, owner: Owner, value: bytes) -> None:
        rivals = self._rivals.get(key)
        if rivals is None and (holder := self._holder.setdefault(key, owner)) != owner:
            rivals = self._rivals[key] = Rivals(holder, self._wanted[key])
        if rivals is None:
            self._wanted[key] = value
        else:
            rivals.put(owner, value)
            self._holder[key], self._wanted[key] = rivals.first()
        self._dirty[key] = None

    def _release(self, key: bytes, owner: Owner) -> None:
        rivals = self._rivals.get(key)
        if rivals is None:
            del self._holder[key], self._wanted[key]
        else:
            rivals.drop(owner)
            self._holder[key], self._wanted[key] = rivals.first()
            if len(rivals) == 1:
                del self._rivals[key]
        self._dirty[key] = None
