"""The pinned maps that the programmer fills, each with its reconciler; and any pinned map, opened for reading.

Called by `node`, which makes one after the objects are loaded, and by its stages.
"""

import os
import pathlib

from seta_agent.bpf import syscall
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.bpf.maps import Map
from seta_agent.desired import policymap
from seta_agent.desired.encode import Dtype
from seta_agent.programmer.maps import MapReconciler
from seta_agent.programmer.outermaps import OuterMap
from seta_agent.programmer.programs import Programs
from seta_agent.settings import Settings

POLICY_PREFIX = "cilium_policy_v2_"
OUTER = "cilium_policy_maps"


class KernelMaps:
    """Owns the reconcilers and their descriptors."""

    def __init__(self, settings: Settings, programs: Programs) -> None:
        self._settings = settings
        self._programs = programs
        self._reconcilers: dict[str, MapReconciler] = {}  # map name -> reconciler

    def layout(self, name: str) -> tuple[Dtype, Dtype]:
        """The dtypes of a map's key and value, from the objects' BTF."""
        if name.startswith(POLICY_PREFIX):
            return self.policy_layout()
        found = self._programs.layouts[name]
        if found.key is None or found.value is None:
            raise BpfError(f"reading the map {name}: its object says nothing about its entries", Reason.BAD_OBJECT)
        return found.key, found.value

    def reconciler(self, name: str) -> MapReconciler:
        """The reconciler of a map of the objects, read from the kernel when first asked for."""
        if name not in self._reconcilers:
            found = MapReconciler(Map.pinned(self._programs.map_path(name), *self.layout(name)))
            found.read()
            self._reconcilers[name] = found
        return self._reconcilers[name]

    def has(self, name: str) -> bool:
        return name in self._programs.layouts

    def sweep(self, program: str) -> dict[str, int]:
        """Run one of the datapath's own sweeps: table -> entries that it deleted. Blocking; `BpfError`."""
        return self._programs.sweep(program)

    def policy_map(self, endpoint_id: int) -> MapReconciler:
        """The policy map of an endpoint: the pinned one, or a new and empty one, pinned by its name."""
        name = policy_map_name(endpoint_id)
        found = MapReconciler(self._open_policy_map(name), policymap.COUNTERS)
        found.read()
        return found

    def remove_policy_map(self, endpoint_id: int) -> None:
        self._programs.map_path(policy_map_name(endpoint_id)).unlink(missing_ok=True)

    def pinned_policy_maps(self) -> set[int]:
        """The endpoints that have a pinned policy map."""
        names = (path.name for path in self._settings.maps_dir.glob(POLICY_PREFIX + "*"))
        return {int(name.removeprefix(POLICY_PREFIX)) for name in names if name[len(POLICY_PREFIX) :].isdigit()}

    def names(self) -> list[str]:
        """Every pinned map."""
        return sorted(path.name for path in self._settings.maps_dir.iterdir())

    def open(self, name: str) -> Map:
        """A pinned map for reading; the caller closes it. `BpfError(NOT_FOUND)` where there is none."""
        path = self._programs.map_path(name)
        try:
            return Map.pinned(path, *self.layout(name))
        except KeyError:
            return Map.pinned(path)

    def errors(self, name: str) -> int:
        """How many batches the kernel refused for a map."""
        found = self._reconcilers.get(name)
        return found.errors if found else 0

    def read_all(self) -> None:
        """Take the kernel's contents as they are; what strangers changed is corrected by the next pass."""
        for reconciler in self._reconcilers.values():
            reconciler.read()

    def close(self) -> None:
        for reconciler in self._reconcilers.values():
            reconciler.map.close()
        self._reconcilers.clear()

    def policy_layout(self) -> tuple[Dtype, Dtype]:
        types = self._programs.btf["from_container"]
        return types.dtype("policy_key"), types.dtype("policy_entry")

    def path(self, name: str) -> pathlib.Path:
        return self._programs.map_path(name)

    def outer(self, name: str) -> OuterMap:
        """A map of maps; the caller closes it."""
        return OuterMap(self._programs.map_path(name), self._programs.layouts[name].key)

    @staticmethod
    def new_table(name: str, content: bytes) -> Map:
        """An array of one value, which is this; the caller closes it."""
        made = Map(syscall.map_create(syscall.ARRAY, name, 4, len(content), 1))
        try:
            made.set(bytes(4), content)
        except BpfError:
            made.close()
            raise
        return made

    def _open_policy_map(self, name: str) -> Map:
        path, (key, value) = self._programs.map_path(name), self.layout(name)
        size = self._settings.bpf_policy_map_max
        try:
            found = Map.pinned(path, key, value)
        except BpfError as error:
            if error.reason not in {Reason.NOT_FOUND, Reason.MISMATCH}:
                raise
            path.unlink(missing_ok=True)
        else:
            if found.info.max_entries == size:
                return found
            found.close()
            path.unlink()
        fd = syscall.map_create(syscall.LPM_TRIE, name, key.itemsize, value.itemsize, size, flags=syscall.NO_PREALLOC)
        try:
            syscall.pin(fd, path)
        except BpfError:
            os.close(fd)
            raise
        return Map(fd, key, value)


def policy_map_name(endpoint_id: int) -> str:
    return f"{POLICY_PREFIX}{endpoint_id:05d}"
