"""The pinned event ring, opened for one consumer. Called by the hub through the backend."""

from pathlib import Path
from typing import Any

import numpy as np

from seta_agent.bpf.btf import Dtype
from seta_agent.bpf.maps import Map
from seta_agent.bpf.ringbuf import RingBuffer

Array = np.ndarray[Any, np.dtype[Any]]


class EventRing:
    """Owns the map's descriptor and its mappings. Raises BpfError where there is no such ring."""

    def __init__(self, path: Path, record: Dtype) -> None:
        self._map = Map.pinned(path)
        self._ring = RingBuffer(self._map.fd, self._map.info.max_entries, record)
        self.fd = self._map.fd

    def read(self, most: int = 65536) -> Array:
        return self._ring.read(most)

    def close(self) -> None:
        self._ring.close()
        self._map.close()
