"""Real sockets, led to backends by the shipped programs: which of them are closed when a backend goes."""

import asyncio
import contextlib
import dataclasses
import ipaddress
import os
import pathlib
import socket

import numpy as np
import pytest

from seta_agent.programmer import devices, stale
from seta_agent.tables import Backend, Frontend, Service, ServicePort
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import IP, SECONDS

DNS = ("kube-system", "kube-dns")
FRONT = ("10.96.0.10", 53)
FIRST, SECOND, OWN = "192.168.50.2", "192.168.50.3", "192.168.50.1"
SO_COOKIE = 57
QUICK = 0.05  # seconds between sweeps


@pytest.fixture
def in_cgroup(cgroup):
    """The sockets of this process are in the test's cgroup."""
    before = pathlib.Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    yield
    (cgroup.parent / before / "cgroup.procs").write_text(str(os.getpid()))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stale, "PAUSE_SECONDS", QUICK)


def dns(*addresses, protocol="UDP", port=5353, **states):
    """`states`: of backends by the last number of their address."""
    backends = tuple(
        Backend(IP(one), port, state=states.get(f"_{one.rpartition('.')[2]}", "active")) for one in addresses
    )
    front = Frontend(17, "ClusterIP", IP(FRONT[0]), FRONT[1])
    return Service(*DNS, (ServicePort("dns", protocol, (front,), backends),))


def connected(address=FRONT, netns=None):
    """A UDP socket with a peer, in the node or in a pod."""
    make = (socket.AF_INET, socket.SOCK_DGRAM)
    made = socket.socket(*make) if netns is None else devices.in_netns(netns, socket.socket, *make)
    made.connect(address)
    return made


def led_to(lab, one):
    """Where a service led a socket."""
    keys, _ = lab.agent.dump_map("cilium_lb4_reverse_sk")
    cookie = int.from_bytes(one.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")
    (found,) = keys[keys["cookie"] == np.uint64(cookie)]
    return str(ipaddress.IPv4Address(int(found["address"])))


def led(lab, where, netns=None):
    """A socket that a service led to that backend."""
    while True:
        made = connected(netns=netns)
        if led_to(lab, made) == where:
            return made
        made.close()


def is_open(one):
    try:
        one.getpeername()
    except OSError:
        return False
    return True


async def set_service(lab, row):
    if row is None:
        lab.tables.services.delete(DNS)
    else:
        lab.tables.services.set(DNS, row)
    await lab.applied()


async def swept(lab):
    """Time for a sweep that has something to close, and for one more."""
    await asyncio.sleep(4 * QUICK)


@on_a_node
async def test_sockets_led_to_a_backend_that_went_are_closed_and_no_others(lab, in_cgroup):
    await lab.start(netns_dir=pathlib.Path("/proc/self/fd"))
    await set_service(lab, dns(FIRST, SECOND))
    pod = await lab.add_pod(5)
    lab.tables.endpoints.set(5, dataclasses.replace(pod.endpoint, netns=f"/var/run/netns/{pod.netns}"))
    await lab.applied()
    with contextlib.ExitStack() as opened:
        gone = [opened.enter_context(led(lab, SECOND, netns)) for netns in (None, None, pod.netns)]
        stay = [opened.enter_context(led(lab, FIRST, netns)) for netns in (None, pod.netns)]
        stay += [opened.enter_context(connected((SECOND, 5353), netns)) for netns in (None, pod.netns)]
        await set_service(lab, dns(FIRST))
        await lab.until(lambda: not any(map(is_open, gone)))
        await swept(lab)
        assert all(map(is_open, stay))
        with pytest.raises(OSError, match=r"Destination address|abort"):
            gone[0].send(b"x")
        assert lab.agent.status()["sockets_closed"] == 3
        gone[0].connect(FRONT)
        await swept(lab)
        assert is_open(gone[0])


@on_a_node
async def test_a_terminating_backend_keeps_its_sockets_until_it_is_gone(lab, in_cgroup):
    await lab.start()
    await set_service(lab, dns(FIRST, SECOND))
    with led(lab, SECOND) as one:
        for state in ("terminating", "terminating-not-serving"):
            await set_service(lab, dns(FIRST, SECOND, _3=state))
            await swept(lab)
            assert is_open(one)
        await set_service(lab, dns(FIRST))
        await lab.until(lambda: not is_open(one))


@on_a_node
async def test_a_deleted_service_takes_its_sockets_with_it(lab, in_cgroup):
    await lab.start()
    await set_service(lab, dns(FIRST))
    with led(lab, FIRST) as one, connected((FIRST, 5353)) as other:
        await set_service(lab, None)
        await lab.until(lambda: not is_open(one))
        assert is_open(other)


@on_a_node
async def test_a_backend_that_left_while_the_agent_was_away_is_noticed_at_start(lab, in_cgroup):
    await lab.start()
    await set_service(lab, dns(FIRST, SECOND))
    with led(lab, SECOND) as one, led(lab, FIRST) as other:
        await lab.stop()
        lab.tables.services.set(DNS, dns(FIRST))
        await lab.start()
        await lab.until(lambda: not is_open(one))
        assert is_open(other)


@on_a_node
async def test_nothing_is_closed_before_the_services_are_listed(lab, in_cgroup):
    await lab.start()
    await set_service(lab, dns(FIRST))
    with led(lab, FIRST) as one:
        await lab.stop()
        row, _ = lab.tables.services.get(DNS), lab.tables.services.delete(DNS)
        await lab.start(listed=False)
        await swept(lab)
        assert is_open(one)
        lab.tables.services.set(DNS, row)
        for table in vars(lab.tables).values():
            table.synced = True
        await lab.until(lambda: lab.agent.synced)
        await swept(lab)
        assert is_open(one)


@on_a_node
async def test_tcp_finds_out_by_itself(lab, in_cgroup):
    await lab.start()
    with socket.create_server((OWN, 0)) as server:
        port = server.getsockname()[1]
        await set_service(lab, dns(OWN, protocol="TCP", port=port))
        with socket.create_connection(FRONT, SECONDS) as one, connected((OWN, port)):
            accepted, _ = server.accept()
            await set_service(lab, dns("192.168.50.9", protocol="TCP", port=port))
            await swept(lab)
            accepted.send(b"still here")
            assert one.recv(64) == b"still here"
            accepted.close()
