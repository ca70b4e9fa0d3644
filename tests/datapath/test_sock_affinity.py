"""sessionAffinity at the socket: a client is its network namespace, and keeps the backend it was given."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.datapath.lb_maps import record
from tests.datapath.sandbox import Sandbox
from tests.datapath.sock_lab import NODE, SockLab

VIP, VIP6 = "10.96.0.20", "fd00:96::20"
AFFINITY = 0x10
NAMES = ["one", "two", "three", "four"]
HOUR = 3600


@pytest.fixture(scope="module")
def lab(sandbox: Sandbox) -> Iterator[SockLab]:
    lab = SockLab(sandbox, "affinity")
    yield lab
    lab.close()


def offer(lab: SockLab, port: int, names: list[str], protocol: str = "tcp", timeout: int = HOUR) -> dict[str, int]:
    """A service with these backends: name -> backend's number."""
    backends = [(NODE, lab.serve(name, protocol, NODE)) for name in names]
    numbers = lab.lb.service(VIP, port, protocol, backends, rev_nat=port, flags=AFFINITY, affinity=timeout)
    return dict(zip(names, numbers, strict=True))


def key_of(lab: SockLab, port: int, *, pod: bool = False) -> bytes:
    key = {"client_id": lab.cookie(pod=pod), "rev_nat_id": port, "netns": 1}
    return record(lab.maps["cilium_lb4_affinity"].key, key)


def remembered(lab: SockLab, port: int, *, pod: bool = False) -> tuple[int, int]:
    """The client's backend, and when it was last asked for."""
    raw = lab.maps["cilium_lb4_affinity"].lookup(key_of(lab, port, pod=pod))
    assert raw is not None
    found = np.frombuffer(raw, lab.maps["cilium_lb4_affinity"].value)[0]
    return int(found["backend_id"]), int(found["last_used"])


def remember(lab: SockLab, port: int, backend: int, seconds_ago: int) -> None:
    table = lab.maps["cilium_lb4_affinity"]
    last_used = int(time.clock_gettime(time.CLOCK_MONOTONIC)) - seconds_ago
    table.set(key_of(lab, port), record(table.value, {"backend_id": backend, "last_used": last_used}))


@pytest.mark.parametrize(("protocol", "port"), [("tcp", 79), ("udp", 78)])
def test_a_client_keeps_its_backend(lab: SockLab, protocol: str, port: int):
    numbers = offer(lab, port, NAMES, protocol)
    told = set(lab.ask(f"{protocol}-many", VIP, port)["says"])
    assert len(told) == 1  # by chance once in 4^29 runs
    assert remembered(lab, port)[0] == numbers[told.pop()]


def test_an_ipv6_client_too(lab: SockLab):
    backends = [("fd00:77::1", lab.serve(name, "tcp", "fd00:77::1")) for name in NAMES]
    lab.lb.service(VIP6, 80, "tcp", backends, rev_nat=80, flags=AFFINITY, affinity=HOUR)
    assert len(set(lab.ask("tcp-many", VIP6, 80)["says"])) == 1


def test_each_network_namespace_is_a_client(lab: SockLab):
    offer(lab, 81, NAMES)
    lab.ask("tcp", VIP, 81)
    lab.ask("tcp", VIP, 81, pod=True)
    assert remembered(lab, 81)[0] > 0
    assert remembered(lab, 81, pod=True)[0] > 0


def test_without_affinity_nothing_is_remembered(lab: SockLab):
    lab.lb.service(VIP, 82, "tcp", [(NODE, lab.serve("one", "tcp", NODE))], rev_nat=82)
    assert lab.ask("tcp", VIP, 82)["says"] == "one"
    assert lab.maps["cilium_lb4_affinity"].lookup(key_of(lab, 82)) is None


def test_a_backend_that_takes_no_new_clients_keeps_its_own(lab: SockLab):
    """It is in no slot any more, but still one of the service's."""
    old = offer(lab, 83, ["old"])["old"]
    lab.ask("tcp", VIP, 83)
    offer(lab, 83, ["new"])
    assert lab.ask("tcp", VIP, 83)["says"] == "old"
    assert remembered(lab, 83)[0] == old
    assert lab.ask("tcp", VIP, 83, pod=True)["says"] == "new"


def test_a_client_moves_when_its_backend_leaves_the_service(lab: SockLab):
    old = offer(lab, 84, ["old"])["old"]
    lab.ask("tcp", VIP, 84)
    new = offer(lab, 84, ["new"])["new"]
    lab.lb.match(old, 84, present=False)
    assert lab.ask("tcp", VIP, 84)["says"] == "new"
    assert remembered(lab, 84)[0] == new


def test_a_client_moves_when_its_backend_is_gone(lab: SockLab):
    old = offer(lab, 85, ["old"])["old"]
    lab.ask("tcp", VIP, 85)
    offer(lab, 85, ["new"])
    lab.lb.remove("cilium_lb4_backends_v3", old)
    assert lab.ask("tcp", VIP, 85)["says"] == "new"


@pytest.mark.parametrize(("ago", "name"), [(50, "old"), (61, "new")])
def test_a_backend_is_kept_until_the_timeout(lab: SockLab, ago: int, name: str):
    old = offer(lab, 86, ["old"], timeout=60)["old"]
    offer(lab, 86, ["new"], timeout=60)
    remember(lab, 86, old, ago)
    assert lab.ask("tcp", VIP, 86)["says"] == name


def test_each_connection_begins_the_timeout_anew(lab: SockLab):
    old = offer(lab, 87, ["old"], timeout=60)["old"]
    remember(lab, 87, old, 50)
    lab.ask("tcp", VIP, 87)
    assert time.clock_gettime(time.CLOCK_MONOTONIC) - remembered(lab, 87)[1] < 30


def test_no_backend_is_no_backend(lab: SockLab):
    offer(lab, 88, ["old"])
    lab.ask("tcp", VIP, 88)
    offer(lab, 88, [])
    assert lab.ask("tcp", VIP, 88) == {"error": "ConnectionRefusedError"}
