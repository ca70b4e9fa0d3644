"""A map of maps: which inner map the datapath finds under which key. Used by policymaps and maglevtables.

After a change of it the kernel waits until no program has the old inner map at hand: 10 to 60 ms for each call, however
much a call changes. So many changes are one batch.
"""

import pathlib
from collections.abc import Collection, Mapping

import numpy as np

from seta_agent.bpf.errors import BpfError
from seta_agent.bpf.maps import Array, Map
from seta_agent.desired.encode import Dtype, rows


class OuterMap:
    """Owns its descriptor; the inner maps are their makers'. An update is one step for the datapath."""

    def __init__(self, path: pathlib.Path, key: Dtype | None) -> None:
        self._map = Map.pinned(path, key, np.dtype("u4"))
        self.installed: dict[bytes, int] = {}  # key -> kernel id of the inner map
        self.read()

    def read(self) -> None:
        """Take the kernel's contents as they are."""
        keys, values = self._map.dump()
        found = zip(rows(keys), values, strict=True)
        self.installed = {key: int(number) for key, number in found if number}

    def install(self, key: bytes, inner: Map) -> None:
        """Let the datapath find the inner map, in the place of another."""
        if self.installed.get(key) != inner.info.id:
            self._map.set(key, inner.fd.to_bytes(4, "little"))
            self.installed[key] = inner.info.id

    def install_all(self, inners: Mapping[bytes, Map]) -> None:
        """Many at once. `BpfError(FULL)` where there is no room; some may be in by then."""
        new = {key: inner for key, inner in inners.items() if self.installed.get(key) != inner.info.id}
        try:
            self._map.update(self._keys(new), np.array([inner.fd for inner in new.values()], "u4"))
        except BpfError:
            self.read()
            raise
        self.installed |= {key: inner.info.id for key, inner in new.items()}

    def remove(self, key: bytes) -> None:
        self._map.remove(key)
        self.installed.pop(key, None)

    def remove_all(self, keys: Collection[bytes]) -> None:
        """Many at once; those that are not there are fine."""
        self._map.delete(self._keys(keys))
        for key in keys:
            self.installed.pop(key, None)

    def _keys(self, keys: Collection[bytes]) -> Array:
        return np.frombuffer(b"".join(keys), self._map.key)

    def close(self) -> None:
        self._map.close()
