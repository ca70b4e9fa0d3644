"""The socket programs on a cgroup of their own, with servers on the loopback of the sandbox.

`BPF_PROG_TEST_RUN` cannot run them, so real processes make real sockets in the cgroup.
"""

import ipaddress
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
from typing import Any

import numpy as np

from seta_agent.bpf import libbpf, syscall
from seta_agent.bpf.maps import Map
from tests.datapath.datapath import OBJECTS
from tests.datapath.sandbox import Sandbox

CLIENT = pathlib.Path(__file__).with_name("sock_client.py")
PROTOCOLS = {"tcp": 6, "udp": 17}
TWINS = {4: "cilium_lb4_", 6: "cilium_lb6_"}


def cgroup_root() -> pathlib.Path | None:
    """Where cgroup2 is mounted: the hierarchy itself, or beside the older ones."""
    places = (pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/unified"))
    return next((place for place in places if (place / "cgroup.controllers").exists()), None)


def _clear(root: pathlib.Path) -> None:
    """Remove the cgroups of test runs that were killed; the programs went with their process."""
    for left in root.glob("dp-*"):
        if not pathlib.Path("/proc", left.name.removeprefix("dp-")).exists():
            left.rmdir()


class SockLab:
    def __init__(self, sandbox: Sandbox, root: pathlib.Path) -> None:
        self.sandbox = sandbox
        _clear(root)
        self.cgroup = root / f"dp-{os.getpid()}"
        self.cgroup.mkdir()
        self.maps: dict[str, Map] = {}  # name -> map
        self._backends = 0
        self._servers: list[socket.socket] = []
        self._object = sandbox.run(self._attach)

    def close(self) -> None:
        for server in self._servers:
            server.close()
        for link in self._links:
            os.close(link)
        self._object.close()
        self.cgroup.rmdir()

    def service(
        self, address: str, port: int, protocol: str, backends: list[tuple[str, int]], *, rev_nat: int = 7
    ) -> None:
        """A frontend; the whole of it replaced as the agent does: backends, slots, then the master."""
        prefix, number = TWINS[ipaddress.ip_address(address).version], PROTOCOLS[protocol]
        key = {"address": _plain(address), "dport": port, "proto": number}
        for slot, (where, there) in enumerate(backends, 1):
            self._backends += 1
            self._set(
                prefix + "backends_v3", self._backends, {"address": _plain(where), "port": there, "proto": number}
            )
            self._set(prefix + "services_v2", key | {"backend_slot": slot}, {"backend_id": self._backends})
        self._set(prefix + "services_v2", key, {"count": len(backends), "rev_nat_index": rev_nat})

    def break_slot(self, address: str, port: int, protocol: str, slot: int) -> None:
        key = {"address": _plain(address), "dport": port, "proto": PROTOCOLS[protocol], "backend_slot": slot}
        found = self.maps[TWINS[ipaddress.ip_address(address).version] + "services_v2"]
        found.remove(_record(found.key, key))

    def serve(self, name: str, protocol: str, address: str = "127.0.0.1") -> int:
        """A server that says its name; returns its port."""
        return self.sandbox.run(self._serve, name, protocol, address)

    def ask(self, how: str, address: str, port: int, *, inside: bool = True) -> dict[str, Any]:
        """What the client saw. `inside`: whether it runs in the cgroup."""
        return self.sandbox.run(self._ask, [sys.executable, str(CLIENT), how, address, str(port)], inside)

    def _attach(self) -> libbpf.Object:
        pins = self.sandbox.bpffs / "sock"
        pins.mkdir()
        loaded = libbpf.Object(OBJECTS / "sock.bpf.o", pins)
        for name in ("cilium_lb4_reverse_sk", "cilium_lb6_reverse_sk", "cilium_lb4_affinity", "cilium_lb6_affinity"):
            loaded.set_max_entries(name, 1024)
        loaded.load()
        for name, layout in loaded.btf.maps.items():
            self.maps[name] = Map.pinned(pins / name, layout.key, layout.value)
        cgroup = os.open(self.cgroup, os.O_RDONLY)
        kinds = {name: syscall.CGROUP_ATTACH[section] for name, section in loaded.programs.items()}
        self._links = [syscall.link_create(loaded.program_fd(name), cgroup, kind) for name, kind in kinds.items()]
        os.close(cgroup)
        return loaded

    def _serve(self, name: str, protocol: str, address: str) -> int:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
        server.bind((address, 0))
        if protocol == "tcp":
            server.listen()
        self._servers.append(server)
        threading.Thread(target=_answer, args=(server, name.encode(), protocol), daemon=True).start()
        return int(server.getsockname()[1])

    def _ask(self, command: list[str], inside: bool) -> Any:  # noqa: FBT001
        def join() -> None:  # before exec: the cgroup at socket() time counts
            (self.cgroup / "cgroup.procs").write_text("0", encoding="ascii")

        done = subprocess.run(
            command, capture_output=True, text=True, check=True, preexec_fn=join if inside else None, timeout=20
        )
        return json.loads(done.stdout)

    def _set(self, name: str, key: dict[str, Any] | int, value: dict[str, Any]) -> None:
        found = self.maps[name]
        found.set(_record(found.key, key), _record(found.value, value))


def _answer(server: socket.socket, name: bytes, protocol: str) -> None:
    try:
        while True:
            if protocol == "tcp":
                with server.accept()[0] as connection:
                    connection.sendall(name)
            else:
                server.sendto(name, server.recvfrom(64)[1])
    except OSError:
        return  # closed at the end


def _plain(address: str) -> Any:
    """As the maps have it: a number, or for IPv6 the fields of union ip16."""
    parsed = ipaddress.ip_address(address)
    return int(parsed) if parsed.version == 4 else {"bytes": list(parsed.packed)}


def _record(dtype: Any, fields: dict[str, Any] | int) -> bytes:
    if isinstance(fields, int):
        return np.array(fields, dtype).tobytes()
    record = np.zeros(1, dtype)
    libbpf.write_fields(record[0], fields)
    return bytes(record.tobytes())
