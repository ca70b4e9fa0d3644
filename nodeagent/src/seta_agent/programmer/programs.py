"""The shipped objects in the kernel, and the links that hang them on devices and the cgroup.

Called by `node`. One loaded object serves every endpoint. Links are pinned, so they go on without the agent; a
restart replaces their programs atomically (bpf_link_update: not one packet goes unseen), and only where a device is
gone or another is a link made anew. Loading needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, attaching CAP_NET_ADMIN.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import structlog

from seta_agent.bpf import syscall
from seta_agent.bpf.btf import Btf, MapLayout
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.bpf.libbpf import Object
from seta_agent.programmer import kept, pins
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.settings import Settings

PACKET_OBJECTS = ("from_container", "to_container", "from_netdev", "to_netdev", "from_overlay", "to_overlay")
SOCKET_OBJECT = "sock"
XDP_OBJECT, XDP_PROGRAM = "xdp", "xdp_service"
SWEEP_OBJECT = "sweep"
INGRESS, EGRESS = syscall.TCX_INGRESS, syscall.TCX_EGRESS
ON_ENDPOINT = (("from_container", INGRESS), ("to_container", EGRESS))
ON_NATIVE = (("from_netdev", INGRESS), ("to_netdev", EGRESS))
ON_OVERLAY = (("from_overlay", INGRESS), ("to_overlay", EGRESS))
UNUSED = {
    "cilium_ct6_global",
    "cilium_ct_any6_global",
    "cilium_lb6_reverse_sk",
    "cilium_lb6_affinity",
}  # pods have no IPv6 yet
MAGLEV = {"cilium_lb4_maglev", "cilium_lb6_maglev"}
BY_LB_MAP_MAX = ("cilium_lb4_", "cilium_lb6_", "cilium_lb_")  # but reverse_sk, which counts sockets
SMALLEST = 1024  # entries: such maps are allocated whole when they are made, 150 MB at full size
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """Where a program belongs. `target`: ifindex, or the cgroup's directory as an open descriptor."""

    name: str  # of the pin
    program: str
    target: int
    identity: int  # what the kernel calls the target: ifindex or cgroup id
    attach_type: int
    flags: int = 0  # of XDP: by whom


class Programs:
    """Owns the loaded objects. `load` may be called again with another configuration; then attach again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._objects: dict[str, Object] = {}  # object name -> loaded object
        self._kept = kept.KeptPrograms(settings.programs_dir)
        self._program_fds: dict[str, int] = {}  # program name -> descriptor; the object's, or `_kept`'s
        self._sections: dict[str, str] = {}  # program name -> section
        self.layouts: dict[str, MapLayout] = {}  # map name -> layout
        self.btf: dict[str, Btf] = {}  # object name -> types

    def load(self, config: Mapping[str, Any]) -> list[str]:
        """Every object with this `struct node_config`: the names of maps that lost their entries.

        `ProgrammingError` with one sentence where the kernel cannot take an object; its log is in the agent's log.
        """
        self._settings.maps_dir.mkdir(parents=True, exist_ok=True)
        self._settings.links_dir.mkdir(parents=True, exist_ok=True)
        before, self._objects = self._objects, {}
        kept_before, self._kept = self._kept, kept.KeptPrograms(self._settings.programs_dir)
        replaced: dict[str, pins.Replaced] = {}  # map name -> what was taken away
        try:
            for name in self._wanted():
                self._load_one(name, config, replaced)
        except BpfError as error:
            for one in replaced.values():
                pins.put_back(self._settings.maps_dir, one)
            log.error("object_refused", reason=str(error), detail=error.detail[-4000:])  # noqa: TRY400
            raise ProgrammingError(f"the datapath cannot be loaded: {error}", retry=error.reason.retry) from None
        for old in before.values():
            old.close()
        kept_before.close()
        return [name for name, one in replaced.items() if not pins.take_over(self._settings.maps_dir, one)]

    def close(self) -> None:
        """Let go of programs and maps; links and pins keep them."""
        for opened in self._objects.values():
            opened.close()
        self._kept.close()
        self._objects.clear()

    def map_path(self, name: str) -> pathlib.Path:
        return self._settings.maps_dir / name

    def sweep(self, program: str) -> dict[str, int]:
        """Run one of the sweeps: table -> entries that it deleted. Blocking; `BpfError`."""
        answer = np.zeros(1, self.btf[SWEEP_OBJECT].dtype("swept"))
        answer = np.frombuffer(syscall.prog_run(self._program_fds[program], answer.tobytes()), answer.dtype)
        return {name: int(answer[name][0]) for name in answer.dtype.names or ()}

    def attach(self, link: Link) -> None:
        """Make the pinned link run the loaded program. `BpfError(NO_DEVICE)` where the device is gone."""
        path = self._settings.links_dir / link.name
        program = self._program_fds[link.program]
        fd = self._open(path)
        if fd is not None:
            try:
                if self._update(fd, program, link):
                    return
            finally:
                os.close(fd)
            path.unlink()
        fd = syscall.link_create(program, link.target, link.attach_type, link.flags)
        try:
            syscall.pin(fd, path)
        finally:
            os.close(fd)

    def detach(self, name: str) -> None:
        """The kernel lets go of an unlinked pin's link soon, and nobody waits for it."""
        (self._settings.links_dir / name).unlink(missing_ok=True)

    def detach_at_once(self, name: str) -> None:
        """Off when this returns, for what something else is to take the place of; costs an RCU grace period."""
        fd = self._open(self._settings.links_dir / name)
        if fd is None:
            return
        try:
            syscall.link_detach(fd)
        finally:
            os.close(fd)
        self.detach(name)

    def links(self) -> list[str]:
        """The names of the pinned links."""
        return sorted(entry.name for entry in self._settings.links_dir.iterdir())

    def socket_links(self, cgroup_fd: int) -> list[Link]:
        """The links of the socket hooks at a cgroup."""
        identity = os.fstat(cgroup_fd).st_ino
        return [
            Link(f"cgroup_{name}", name, cgroup_fd, identity, syscall.CGROUP_ATTACH[section])
            for name, section in self._sections.items()
            if section in syscall.CGROUP_ATTACH
        ]

    @staticmethod
    def device_links(ifname: str, ifindex: int, programs: Iterable[tuple[str, int]]) -> list[Link]:
        return [Link(f"{ifname}_{program}", program, ifindex, ifindex, kind) for program, kind in programs]

    def _wanted(self) -> tuple[str, ...]:
        accelerated = self._settings.bpf_lb_acceleration != "disabled"
        return (*PACKET_OBJECTS, SOCKET_OBJECT, SWEEP_OBJECT, *([XDP_OBJECT] if accelerated else []))

    def _load_one(self, name: str, config: Mapping[str, Any], replaced: dict[str, pins.Replaced]) -> None:
        opened = Object(self._settings.objects / f"{name}.bpf.o", self._settings.maps_dir)
        self._objects[name] = opened
        self.btf[name] = opened.btf
        with contextlib.ExitStack() as prototypes:  # open until the object is loaded
            for layout in opened.btf.maps.values():
                self._fit(opened, layout, replaced, prototypes)
            self._program_fds |= self._from_before(name, opened, config) or self._anew(name, opened, config)
        self._sections |= opened.programs

    def _from_before(self, name: str, opened: Object, config: Mapping[str, Any]) -> dict[str, int] | None:
        digest = self._digest(opened, config)
        return self._kept.find(name, digest, opened.programs) if digest else None

    def _anew(self, name: str, opened: Object, config: Mapping[str, Any]) -> dict[str, int]:
        if opened.btf.rodata:
            opened.set_rodata("cfg", config)
        opened.load()
        found = {program: opened.program_fd(program) for program in opened.programs}
        digest = self._digest(opened, config)  # now that all maps are there
        if digest:
            self._kept.keep(name, digest, found)
        return found

    def _digest(self, opened: Object, config: Mapping[str, Any]) -> str | None:
        maps = (self.map_path(layout.name) for layout in opened.btf.maps.values() if layout.pinned)
        return kept.digest_of(opened.path, config, maps)

    def _fit(
        self, opened: Object, layout: MapLayout, replaced: dict[str, pins.Replaced], prototypes: contextlib.ExitStack
    ) -> None:
        """Give a map the sizes of this cluster, and take away a pinned one that has others."""
        sized = dataclasses.replace(layout, max_entries=self._size(layout))
        self.layouts[layout.name] = sized
        if sized.max_entries != layout.max_entries:
            opened.set_max_entries(layout.name, sized.max_entries)
        inner = None
        if layout.name in MAGLEV:
            inner = syscall.map_create(syscall.ARRAY, "maglev", 4, 4 * self._settings.bpf_lb_maglev_table_size, 1)
            prototypes.callback(os.close, inner)
            opened.set_inner_map(layout.name, inner)
        if layout.pinned and layout.name not in replaced:
            gone = pins.replace_misfit(self._settings.maps_dir, sized, inner)
            if gone:
                replaced[layout.name] = gone

    def _size(self, layout: MapLayout) -> int:
        sizes = {
            "cilium_ct4_global": self._settings.bpf_ct_global_tcp_max,
            "cilium_ct_any4_global": self._settings.bpf_ct_global_any_max,
            "cilium_snat_v4_external": self._settings.bpf_nat_global_max,
        }
        if layout.name in UNUSED:
            return SMALLEST
        if layout.name.startswith(BY_LB_MAP_MAX) and not layout.name.endswith("_reverse_sk"):
            return self._settings.bpf_lb_map_max
        return sizes.get(layout.name, layout.max_entries)

    @staticmethod
    def _open(path: pathlib.Path) -> int | None:
        try:
            return syscall.get(path)
        except BpfError as error:
            if error.reason is Reason.NOT_FOUND:
                return None
            raise

    @staticmethod
    def _update(fd: int, program: int, link: Link) -> bool:
        """Whether the pinned link hangs where it should, and now runs this program."""
        info = syscall.link_info(fd)
        if (info.target, info.attach_type) != (link.identity, link.attach_type):
            return False
        try:
            if info.prog_id != syscall.program_id(program):
                syscall.link_update(fd, program)
        except BpfError as error:
            if error.reason is Reason.SEVERED:
                return False
            raise
        return True
