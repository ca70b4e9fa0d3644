"""The maps by which the datapath answers for announced addresses, and the deadline after which it does not.

Owned by `l2.holder`. Beside the programmer's stages, not one of them: a device that lost its carrier, or an address
that goes to another node, must not wait until ten thousand services are through.
"""

from collections.abc import Collection, Mapping

from seta_agent.bpf.maps import Map
from seta_agent.desired import l2
from seta_agent.desired.encode import Entries
from seta_agent.desired.l2 import Answer, Link
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.maps import MapReconciler

DEADLINE = "seta_l2_deadline"
COUNTERS = ("responses_sent",)
OWNER = ("l2",)


class Responder:
    """Has descriptors of its own, so that the programmer may load anew meanwhile. Raises BpfError."""

    def __init__(self, maps: KernelMaps) -> None:
        self._deadline: Map = maps.open(DEADLINE)
        self._devices = MapReconciler(maps.open(l2.DEVICES))
        self._answers = {version: MapReconciler(maps.open(name), COUNTERS) for version, name in l2.MAPS.items()}

    def close(self) -> None:
        self._deadline.close()
        for reconciler in (self._devices, *self._answers.values()):
            reconciler.map.close()

    def __len__(self) -> int:
        return sum(map(len, self._answers.values()))

    def apply(self, wanted: Collection[Answer], links: Mapping[str, Link]) -> set[Answer]:
        """Answer for exactly these: those that are new in the kernel. What goes, goes first."""
        fresh: set[Answer] = set()
        for version, reconciler in self._answers.items():
            mine = sorted(answer for answer in wanted if answer.version == version)
            entries = l2.responder(mine, reconciler.map.key, reconciler.map.value)
            self._want(reconciler, entries)
            reconciler.delete()
            known = reconciler.kernel_keys()
            fresh |= {answer for answer, key in zip(mine, entries, strict=True) if key not in known}
        devices = self._devices
        self._want(devices, l2.devices(links.values(), devices.map.key, devices.map.value))
        for reconciler in (devices, *self._answers.values()):
            reconciler.apply()
        return fresh

    def silence(self) -> None:
        """No answers, from now on."""
        self.until(0)
        self.apply((), {})

    @property
    def deadline(self) -> int:
        """As it stands in the kernel: that of an agent before this one, too."""
        return int.from_bytes(self._deadline.lookup(bytes(4)) or b"", "little")

    def until(self, nanoseconds: int) -> None:
        """CLOCK_BOOTTIME; 0: not at all."""
        self._deadline.set(bytes(4), nanoseconds.to_bytes(8, "little"))

    @staticmethod
    def _want(reconciler: MapReconciler, entries: Entries) -> None:
        """The kernel is read each time: a few entries, and whoever ran before us wrote there too."""
        reconciler.read()
        reconciler.set(OWNER, entries)
        reconciler.complete()
