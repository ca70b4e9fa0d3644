"""The node made ready: mounts checked, devices made, objects loaded, links hung. Called by `node`.

Done at start, and again when the node's own addresses change, because these are constants in the programs.
"""

import os
import pathlib
from collections.abc import Iterable

import structlog

from seta_agent.bpf.errors import BpfError
from seta_agent.desired.routes import TUNNEL_OVERHEAD
from seta_agent.programmer import cgroup, config
from seta_agent.programmer.acceleration import Acceleration
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.programmer.hostdevices import Device, HostDevices
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.policymaps import PolicyMaps
from seta_agent.programmer.programs import ON_NATIVE, ON_OVERLAY, Link, Programs
from seta_agent.settings import Settings
from seta_agent.tables import Node

log = structlog.get_logger()


class NodeSetup:
    """Owns the programs, the open maps and what is known of the node's devices."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.programs = Programs(settings)
        self.acceleration = Acceleration(settings, self.programs)
        self.native: list[Device] = []
        self.overlay: Device | None = None
        self.attached = False
        self.hooked: list[Device] = []  # native devices that our programs hang on
        self._maps: KernelMaps | None = None
        self._policy_maps: PolicyMaps | None = None

    @property
    def maps(self) -> KernelMaps:
        if self._maps is None:
            raise ProgrammingError("the datapath is not loaded yet")
        return self._maps

    @property
    def policy_maps(self) -> PolicyMaps:
        if self._policy_maps is None:
            raise ProgrammingError("the datapath is not loaded yet")
        return self._policy_maps

    @property
    def native_mtu(self) -> int:
        return self._settings.mtu or (self.native[0].mtu if self.native else 1500)

    @property
    def pod_mtu(self) -> int:
        """Of the pods' eth0: what fits through the tunnel, or the native device's."""
        return self.native_mtu - TUNNEL_OVERHEAD if self._settings.tunnel else self.native_mtu

    def check_mounts(self) -> None:
        """The bpffs must be the host's, or everything pinned ends with this container."""
        root = self._settings.bpf_root
        if not _is_bpffs(root):
            raise ProgrammingError(
                f"{root} is no bpffs: mount it on the node (mount -t bpf bpf {root}) and into the agent's container",
                retry=False,
            )

    def devices(self, host: HostDevices, own: Node) -> None:
        """In the netlink thread."""
        self.native, self.overlay = host.prepare(own)

    def load(self, own: Node) -> list[str]:
        """Objects and maps: the names of maps that lost their entries. `ProgrammingError` with one sentence."""
        try:
            values = config.node_config(self._settings, own, self.native[0], self.overlay)
            lost = self.programs.load(values)
            self.close_maps()
            self._maps = KernelMaps(self._settings, self.programs)
            self._policy_maps = PolicyMaps(self._maps)
        except BpfError as error:
            raise ProgrammingError(f"the datapath cannot be loaded: {error}", retry=error.reason.retry) from None
        self.attached = False
        return lost

    def attach(self) -> None:
        """The node's own links; those of endpoints are the endpoint stage's. Links of nobody are removed."""
        links = [link for d in self.native for link in self.programs.device_links(d.name, d.index, ON_NATIVE)]
        if self.overlay:
            links += self.programs.device_links(self.overlay.name, self.overlay.index, ON_OVERLAY)
        try:
            for link in links:
                self.programs.attach(link)
            links += self._attach_sockets()
            links += self.acceleration.attach(self.native)
        except BpfError as error:
            raise ProgrammingError(f"the datapath cannot be attached: {error}", retry=error.reason.retry) from None
        self._detach_others(links)
        self.acceleration.check()
        self.hooked = list(self.native)
        self.attached = True

    def close_maps(self) -> None:
        if self._policy_maps:
            self._policy_maps.close()
        if self._maps:
            self._maps.close()

    def close(self) -> None:
        self.close_maps()
        self.programs.close()

    def _attach_sockets(self) -> list[Link]:
        if not (self._settings.kube_proxy_replacement and self._settings.bpf_lb_sock):
            return []
        directory = os.open(cgroup.root(self._settings.cgroup_root), os.O_RDONLY | os.O_DIRECTORY)
        try:
            links = self.programs.socket_links(directory)
            for link in links:
                self.programs.attach(link)
        finally:
            os.close(directory)
        return links

    def _detach_others(self, links: Iterable[Link]) -> None:
        names = {link.name for link in links}
        for name in self.programs.links():
            if name not in names and not name.startswith("lxc"):
                log.info("link_removed", link=name)
                self.programs.detach(name)


def _is_bpffs(path: pathlib.Path) -> bool:
    """By the type of the filesystem that the path lies on; Python's statvfs leaves that out."""
    try:
        wanted = path.stat().st_dev
    except OSError:
        return False
    for line in pathlib.Path("/proc/thread-self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields = line.split()
        major, minor = fields[2].split(":")
        if os.makedev(int(major), int(minor)) == wanted:
            return fields[fields.index("-") + 1] == "bpf"
    return False
