"""A node of one's own in this process: a thread with its own network and mount namespace, and a bpffs in it.

Nothing has a name outside, so nothing is left behind when a test is killed, except an empty cgroup that the next run
removes. Used by the tests of this folder; root only.
"""

import asyncio
import concurrent.futures
import contextlib
import ctypes
import dataclasses
import ipaddress
import os
import pathlib
import socket
import subprocess
import threading
import time

from seta_agent.programmer import devices
from seta_agent.programmer.node import NodeProgrammer
from seta_agent.settings import Settings
from seta_agent.tables import Endpoint, Node, Tables

CGROUP2 = next(
    (p for p in map(pathlib.Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")) if (p / "cgroup.controllers").exists()),
    None,
)
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
SECONDS = 5.0  # how long anything may take before a test fails
QUIET = 0.3  # seconds of silence that count as "nothing arrives"
IP = ipaddress.ip_address
ROUTER = IP("10.1.1.1")
OWN = Node("n1", (IP("192.168.50.1"),), (ROUTER,), (ipaddress.ip_network("10.1.1.0/24"),))
OTHER = Node("n2", (IP("192.168.50.2"),), (IP("10.1.2.1"),), (ipaddress.ip_network("10.1.2.0/24"),))
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def enter_namespaces(bpffs):
    """The calling thread gets namespaces of its own, a native device, and an empty bpffs."""
    _check(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    bpffs.mkdir(exist_ok=True)
    _check(_libc.mount(b"bpf", str(bpffs).encode(), b"bpf", 0, None), "mounting a bpffs")
    for command in (
        "link set lo up",
        "link add ens5 type veth peer name ens5-lan",
        "addr add 192.168.50.1/24 dev ens5",
        "link set ens5 up",
        "link set ens5-lan up",
    ):
        subprocess.run(["ip", *command.split()], check=True)


def new_netns():
    """A descriptor of an empty network namespace."""

    def work():
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)

    return in_thread(work)


def in_thread(work):
    """Run a function in a thread of its own; what it raises is raised here."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


@dataclasses.dataclass
class Pod:
    """A namespace with a veth; `udp` is a socket in it, bound to port 80."""

    endpoint: Endpoint
    netns: int
    udp: socket.socket

    @property
    def address(self):
        return str(self.endpoint.ipv4), 80


class Lab:
    """Settings and tables of one node, and the agents that one after the other program it."""

    def __init__(self, directory, cgroup):
        small = dict.fromkeys(("bpf_ct_global_tcp_max", "bpf_ct_global_any_max", "bpf_nat_global_max"), 4096)
        self.settings = Settings(node_name="n1", bpf_root=directory / "bpf", cgroup_root=str(cgroup), **small)
        self.tables = Tables()
        self.agent = None
        self._run = None
        self._pods = []

    async def start(self, *, listed=True, nodes=(OWN, OTHER), **settings):
        """An agent; an earlier one ends like one that was killed: it cleans nothing up."""
        await self.stop()
        self.settings = self.settings.model_copy(update=settings)
        before, self.tables = self.tables, Tables()
        for name, table in vars(before).items():
            mine = getattr(self.tables, name)
            for key in list(table.keys()):
                mine.set(key, table.get(key))
        self.tables.nodes.replace({row.name: row for row in nodes})
        self.tables.nodes.synced = False
        self.agent = NodeProgrammer(self.settings, self.tables)
        await self.agent.start()
        self._run = asyncio.create_task(self.agent.run())
        if listed:
            await self.listed()
        return self.agent

    async def listed(self):
        """Everything is, and the kernel holds it."""
        for table in vars(self.tables).values():
            table.synced = True
        await self.until(lambda: self.agent.synced)

    async def stop(self):
        """The agent ends as if killed: descriptors are closed, nothing else is done."""
        if self._run:
            self._run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._run
        if self.agent:
            await self.agent.close()
        self._run = self.agent = None

    def close(self):
        for pod in self._pods:
            pod.udp.close()
            os.close(pod.netns)

    async def until(self, fact, seconds=SECONDS):
        """Wait for a fact; the agent says when it has done something."""
        deadline = time.monotonic() + seconds
        while not fact():
            assert time.monotonic() < deadline, f"after {seconds} s still not so: {self.agent.status()}"
            await asyncio.sleep(0.005)

    async def applied(self):
        """Whatever changed in the tables so far is in the kernel."""
        await asyncio.sleep(0)
        before = self.agent.status()["passes"]
        self.agent._wake.set()
        await self.until(lambda: self.agent.status()["passes"] > before)

    async def add_pod(self, number, identity=300, *, wait=True, **fields):
        """A pod with the address 10.1.1.<number>, programmed."""
        netns = new_netns()
        address = IP(f"10.1.1.{number}")
        made = await asyncio.to_thread(
            lambda: devices.create_pod_veth(netns, f"cid{number}", address, ROUTER, 1450, settings=self.settings)
        )
        fields = {"id": number, "namespace": "ns", "pod": f"pod{number}", "pod_uid": "uid"} | fields
        endpoint = Endpoint(**fields, **self._attachment(f"cid{number}", made), ipv4=address, identity=identity)
        self.tables.endpoints.set(number, endpoint)
        if wait:
            await self.agent.endpoint_programmed(number, SECONDS)
        udp = devices.in_netns(netns, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((str(address), 80))
        udp.settimeout(SECONDS)
        self._pods.append(Pod(endpoint, netns, udp))
        return self._pods[-1]

    @staticmethod
    def _attachment(container_id, made):
        return dict(zip(("container_id", "ifname", "ifindex", "mac", "node_mac"), (container_id, *made), strict=True))

    async def reaches(self, source, target):
        """Whether a datagram comes through; silence counts as no."""
        token = os.urandom(8)
        source.udp.sendto(token, target.address)
        target.udp.settimeout(QUIET)
        try:
            while (await asyncio.to_thread(target.udp.recv, 64)) != token:
                pass
        except TimeoutError:
            return False
        return True
