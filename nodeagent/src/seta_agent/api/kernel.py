"""The pinned maps and the event ring, opened for reading. Used by the backend, in threads; opens per call.

Beside the programmer, not through its reconcilers: what people ask for is what the kernel holds now.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from seta_agent.bpf.btf import Btf
from seta_agent.bpf.errors import BpfError
from seta_agent.bpf.maps import Map
from seta_agent.monitor.ring import EventRing
from seta_agent.programmer.node import NodeProgrammer
from seta_agent.settings import Settings

Array = np.ndarray[Any, np.dtype[Any]]
EVENTS = "cilium_events"
NO_ENTRIES = frozenset(  # a ring, an array of maps, and space for a packet on its way: nothing to list
    {EVENTS, "cilium_policy_maps", "seta_service_scratch"}
)
EVENT_LOST = 64  # enum metric_reason REASON_EVENT_LOST
ENUMS = (
    "event_type",
    "drop_reason",
    "observation_point",
    "ct_state",
    "policy_match",
    "source_file",
    "event_verdict",
    "direction",
)


class KernelReader:
    """Raises BpfError: NOT_FOUND where nothing of that name is pinned."""

    def __init__(self, settings: Settings, programmer: NodeProgrammer) -> None:
        self._settings = settings
        self._programmer = programmer

    def names(self) -> list[str]:
        return [name for name in self._programmer.maps().names() if name not in NO_ENTRIES]

    def dump(self, name: str) -> tuple[Array, Array]:
        """Keys and values, with the field names of the BTF; per-CPU values have one more axis."""
        return self._programmer.dump_map(name)

    def inner_words(self, name: str) -> Iterator[tuple[int, Array]]:
        """Of a map of arrays of one value: key, and that value as 32-bit words. One that goes meanwhile is left out."""
        keys, numbers = self.dump(name)
        for key, number in sorted(zip(keys.tolist(), numbers.tolist(), strict=True)):
            with contextlib.suppress(BpfError), contextlib.closing(Map.by_id(number)) as inner:
                yield key, np.frombuffer(inner.lookup(bytes(4)) or b"", np.uint32)

    def lost_events(self) -> int:
        """Events that found the ring full, since the node's start."""
        keys, values = self.dump("cilium_metrics")
        return int(values["count"][keys["reason"] == EVENT_LOST].sum())

    def open_events(self) -> EventRing:
        return EventRing(self._settings.maps_dir / EVENTS, self._btf().dtype("event"))

    def event_enums(self) -> Mapping[str, Mapping[str, int]]:
        btf = self._btf()
        return {name: btf.enum(name) for name in ENUMS}

    def _btf(self) -> Btf:
        return Btf(self._settings.objects / "from_container.bpf.o")
