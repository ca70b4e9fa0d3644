"""The socket programs on a cgroup of their own: a node with servers on its addresses, and a pod beside it.

`BPF_PROG_TEST_RUN` cannot run them, so real processes make real sockets in the cgroup.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from seta_agent.bpf import libbpf, syscall
from seta_agent.bpf.maps import Map
from seta_agent.programmer import config as agent_config
from tests.datapath.datapath import OBJECTS
from tests.datapath.lb_maps import PROTOCOLS, LbMaps, plain
from tests.datapath.sandbox import Sandbox

CLIENT = pathlib.Path(__file__).with_name("sock_client.py")
NODE, POD = "10.77.0.1", "10.77.0.2"  # the node's address on the pod's link, and the pod's
SIZES = {"cilium_lb4_reverse_sk": 16384, "cilium_lb6_reverse_sk": 16384, "cilium_lb6_affinity": 1024}


def cgroup_root() -> pathlib.Path:
    """Where cgroup2 is mounted: the hierarchy itself, or beside the older ones."""
    places = (pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/unified"))
    for place in places:
        if (place / "cgroup.controllers").exists():
            return place
    pytest.skip("socket programs attach to cgroups: cgroup2 is not mounted")


def _clear(root: pathlib.Path) -> None:
    """Remove the cgroups of test runs that were killed; the programs went with their process."""
    for left in root.glob("dp-*"):
        if not pathlib.Path("/proc", left.name.split("-")[1]).exists():
            left.rmdir()


class SockLab:
    """The sandbox is the node, `device` its link to the pod.

    `config`: fields of node_config. `lb`: the service maps.
    """

    def __init__(self, sandbox: Sandbox, name: str = "sock", device: str = "sock0", **config: Any) -> None:
        self.sandbox = sandbox
        self.pod = Sandbox()
        root = cgroup_root()
        _clear(root)
        self.cgroup = root / f"dp-{os.getpid()}-{name}"
        self.cgroup.mkdir()
        self.maps: dict[str, Map] = {}  # name -> map
        self._servers: list[socket.socket] = []
        self._name, self._device = name, device
        self._connect_pod()
        self._object = sandbox.run(self._attach, config)
        self.lb = LbMaps(self.maps)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for link in self._links:
            os.close(link)
        self._object.close()
        self.sandbox.ip(f"link del {self._device}")
        self.pod.close()
        self.cgroup.rmdir()

    def break_slot(self, address: str, port: int, protocol: str, slot: int) -> None:
        key = {"address": plain(address), "dport": port, "proto": PROTOCOLS[protocol], "backend_slot": slot}
        self.lb.remove("cilium_lb4_services_v2", key)

    def serve(
        self, name: str, protocol: str, address: str = "127.0.0.1", *, first: Callable[[], object] | None = None
    ) -> int:
        """A server on the node that says its name, to datagrams after something else; returns its port."""
        server = self.sandbox.run(_listening, protocol, address)
        self._servers.append(server)
        threading.Thread(target=_answer, args=(server, name.encode(), protocol, first), daemon=True).start()
        return int(server.getsockname()[1])

    def ask(self, how: str, address: str, port: int, *, inside: bool = True, pod: bool = False) -> dict[str, Any]:
        """What the client saw. `inside`: whether it runs in the cgroup; `pod`: in the pod's namespace."""
        place = self.pod if pod else self.sandbox
        return place.run(self._ask, [sys.executable, str(CLIENT), how, address, str(port)], inside)

    def cookie(self, *, pod: bool = False) -> int:
        """Of the network namespace."""
        return (self.pod if pod else self.sandbox).run(agent_config.netns_cookie)

    def _connect_pod(self) -> None:
        self.sandbox.ip(
            f"link add {self._device} type veth peer name eth0 netns {self.pod.tid}",
            f"address add {NODE}/24 dev {self._device}",
            f"address add fd00:77::1/64 dev {self._device} nodad",
            f"link set {self._device} up",
        )
        self.pod.ip("link set lo up", f"address add {POD}/24 dev eth0", "address add fd00:77::2/64 dev eth0 nodad")
        self.pod.ip("link set eth0 up")

    def _attach(self, config: dict[str, Any]) -> libbpf.Object:
        pins = self.sandbox.bpffs / self._name
        pins.mkdir()
        loaded = libbpf.Object(OBJECTS / "sock.bpf.o", pins)
        for name, size in SIZES.items():
            loaded.set_max_entries(name, size)
        loaded.set_rodata("cfg", {"node_netns_cookie": agent_config.netns_cookie()} | config)
        loaded.load()
        for name, layout in loaded.btf.maps.items():
            self.maps[name] = Map.pinned(pins / name, layout.key, layout.value)
        cgroup = os.open(self.cgroup, os.O_RDONLY)
        kinds = {name: syscall.CGROUP_ATTACH[section] for name, section in loaded.programs.items()}
        self._links = [syscall.link_create(loaded.program_fd(name), cgroup, kind) for name, kind in kinds.items()]
        os.close(cgroup)
        return loaded

    def _ask(self, command: list[str], inside: bool) -> Any:  # noqa: FBT001
        def join() -> None:  # before exec: the cgroup at socket() time counts
            (self.cgroup / "cgroup.procs").write_text("0", encoding="ascii")

        done = subprocess.run(
            command, capture_output=True, text=True, check=True, preexec_fn=join if inside else None, timeout=20
        )
        return json.loads(done.stdout)


def _listening(protocol: str, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    server.bind((address, 0))
    if protocol == "tcp":
        server.listen()
    return server


def _answer(server: socket.socket, name: bytes, protocol: str, first: Callable[[], object] | None) -> None:
    try:
        while True:
            if protocol == "tcp":
                with server.accept()[0] as connection:
                    connection.sendall(name)
            else:
                client = server.recvfrom(64)[1]
                if first:
                    first()
                server.sendto(name, client)
    except OSError:
        return  # closed at the end
