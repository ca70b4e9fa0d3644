"""A map of maps: which inner map the datapath finds under which key. Used by policymaps and maglevtables."""

import pathlib

import numpy as np

from seta_agent.bpf.maps import Map
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

    def remove(self, key: bytes) -> None:
        self._map.remove(key)
        self.installed.pop(key, None)

    def close(self) -> None:
        self._map.close()
