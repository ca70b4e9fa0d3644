"""Ports that are NodePorts are not given to the node's own programs: their packets would never arrive."""

from collections.abc import Iterator

import pytest

from tests.datapath.sandbox import Sandbox
from tests.datapath.sock_lab import NODE, SockLab

ANY = "0.0.0.0"
NODEPORT, EXTERNAL_IP = 0x42, 0x41
REFUSED = {"error": "PermissionError"}


@pytest.fixture(scope="module")
def lab(sandbox: Sandbox) -> Iterator[SockLab]:
    lab = SockLab(sandbox, "bind", nodeport_min=30000, nodeport_max=30999)
    for port in (30080, 29999, 31000):
        lab.lb.service(ANY, port, "tcp", [], flags=NODEPORT)
    lab.lb.service("::", 30086, "tcp", [], flags=NODEPORT)
    yield lab
    lab.close()


@pytest.mark.parametrize("address", [ANY, "127.0.0.1", NODE, "::", f"::ffff:{NODE}"])
def test_a_node_port_is_taken(lab: SockLab, address: str):
    assert lab.ask("tcp-bind", address, 30080) == REFUSED


def test_an_ipv6_node_port_is_taken(lab: SockLab):
    assert lab.ask("tcp-bind", "::1", 30086) == REFUSED
    assert lab.ask("tcp-bind", ANY, 30086) == {"own": [ANY, 30086]}


def test_the_same_port_of_the_other_protocol_is_free(lab: SockLab):
    assert lab.ask("udp-bind", ANY, 30080) == {"own": [ANY, 30080]}


def test_a_port_that_is_no_service_is_free(lab: SockLab):
    assert lab.ask("tcp-bind", ANY, 30081) == {"own": [ANY, 30081]}


@pytest.mark.parametrize("port", [29999, 31000])
def test_ports_outside_the_range_are_free(lab: SockLab, port: int):
    assert lab.ask("tcp-bind", ANY, port) == {"own": [ANY, port]}


def test_a_pods_ports_are_its_own(lab: SockLab):
    assert lab.ask("tcp-bind", ANY, 30080, pod=True) == {"own": [ANY, 30080]}


def test_only_the_address_that_serves_it_is_taken(lab: SockLab):
    lab.lb.service(NODE, 30085, "udp", [], flags=NODEPORT)
    assert lab.ask("udp-bind", NODE, 30085) == REFUSED
    assert lab.ask("udp-bind", "127.0.0.1", 30085) == {"own": ["127.0.0.1", 30085]}


def test_other_kinds_of_service_take_no_port(lab: SockLab):
    lab.lb.service(NODE, 30084, "tcp", [], flags=EXTERNAL_IP)
    assert lab.ask("tcp-bind", NODE, 30084) == {"own": [NODE, 30084]}


def test_without_protection_every_port_is_given(sandbox: Sandbox):
    lab = SockLab(sandbox, "unprotected", device="sock1", bind_protection=0)
    try:
        lab.lb.service(ANY, 30080, "tcp", [], flags=NODEPORT)
        assert lab.ask("tcp-bind", ANY, 30080) == {"own": [ANY, 30080]}
    finally:
        lab.close()
