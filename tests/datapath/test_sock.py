"""Services at the socket: real sockets in a cgroup, virtual addresses for which there is no route."""

import collections
from collections.abc import Iterator

import pytest

from tests.datapath.sandbox import Sandbox
from tests.datapath.sock_lab import SockLab

VIP, VIP6 = "10.96.0.10", "fd00:96::10"
KINDS = ["tcp", "udp-connected", "udp"]


@pytest.fixture(scope="module")
def lab(sandbox: Sandbox) -> Iterator[SockLab]:
    lab = SockLab(sandbox)
    yield lab
    lab.close()


def protocol(how: str) -> str:
    return how.split("-", maxsplit=1)[0]


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("address", [VIP, f"::ffff:{VIP}"])
def test_the_application_sees_the_service_only(lab: SockLab, how: str, address: str):
    port = lab.serve("backend", protocol(how))
    lab.lb.service(VIP, 80, protocol(how), [("127.0.0.1", port)])
    assert lab.ask(how, address, 80) == {"says": "backend", "peer": [address, 80]}


@pytest.mark.parametrize("how", KINDS)
def test_ipv6_services(lab: SockLab, how: str):
    port = lab.serve("six", protocol(how), "::1")
    lab.lb.service(VIP6, 80, protocol(how), [("::1", port)])
    assert lab.ask(how, VIP6, 80) == {"says": "six", "peer": [VIP6, 80]}


@pytest.mark.parametrize("how", KINDS)
@pytest.mark.parametrize("address", [VIP, f"::ffff:{VIP}"])
def test_without_backends_the_connection_is_refused(lab: SockLab, how: str, address: str):
    lab.lb.service(VIP, 81, protocol(how), [])
    assert lab.ask(how, address, 81) == {"error": "ConnectionRefusedError"}


@pytest.mark.parametrize("how", KINDS)
def test_what_is_no_service_is_not_touched(lab: SockLab, how: str):
    port = lab.serve("direct", protocol(how))
    assert lab.ask(how, "127.0.0.1", port) == {"says": "direct", "peer": ["127.0.0.1", port]}


def test_another_port_and_another_protocol_are_no_service(lab: SockLab):
    port = lab.serve("backend", "tcp")
    lab.lb.service(VIP, 82, "tcp", [("127.0.0.1", port)])
    assert "error" in lab.ask("tcp", VIP, 83)
    assert "error" in lab.ask("udp", VIP, 82)


def test_outside_the_cgroup_there_are_no_services(lab: SockLab):
    port = lab.serve("backend", "tcp")
    lab.lb.service(VIP, 84, "tcp", [("127.0.0.1", port)])
    assert lab.ask("tcp", VIP, 84, inside=False) == {"error": "OSError"}


def test_every_backend_gets_its_share(lab: SockLab):
    names = ["one", "two", "three"]
    lab.lb.service(VIP, 85, "tcp", [("127.0.0.1", lab.serve(name, "tcp")) for name in names])
    told = collections.Counter(lab.ask("tcp", VIP, 85)["says"] for _ in range(60))
    assert set(told) == set(names)  # each is missed once in 10^10 runs


def test_a_slot_that_is_gone_is_passed_over(lab: SockLab):
    """The agent shrinks a service: the master still counts two for a moment. Four looks find the other slot,
    or, once in sixteen, the connection is refused; it never goes to a wrong place.
    """
    port = lab.serve("left", "tcp")
    lab.lb.service(VIP, 86, "tcp", [("127.0.0.1", port), ("127.0.0.1", port)])
    lab.break_slot(VIP, 86, "tcp", 2)
    told = collections.Counter(str(lab.ask("tcp", VIP, 86)) for _ in range(20))
    assert set(told) <= {str({"says": "left", "peer": [VIP, 86]}), str({"error": "ConnectionRefusedError"})}
    assert told.most_common(1)[0][0] == str({"says": "left", "peer": [VIP, 86]})


def ways_back(lab: SockLab, backend_port: int) -> list[tuple[int, int]]:
    """Of the sockets' entries for a backend: port of the frontend, and its rev-nat index."""
    keys, values = lab.maps["cilium_lb4_reverse_sk"].dump()
    found = [v for k, v in zip(keys, values, strict=True) if int(k["port"]) == backend_port]
    return [(int(v["port"]), int(v["rev_nat_index"])) for v in found]


def test_the_way_back_is_remembered_by_socket(lab: SockLab):
    port = lab.serve("backend", "udp")
    lab.lb.service(VIP, 87, "udp", [("127.0.0.1", port)], rev_nat=4711)
    lab.ask("udp", VIP, 87)
    assert ways_back(lab, port) == [(87, 4711)]


@pytest.mark.parametrize("how", ["tcp", "udp-connected"])
def test_the_way_back_goes_with_a_connected_socket(lab: SockLab, how: str):
    port = lab.serve("backend", protocol(how))
    lab.lb.service(VIP, 88, protocol(how), [("127.0.0.1", port)])
    assert lab.ask(how, VIP, 88)["says"] == "backend"
    assert ways_back(lab, port) == []
