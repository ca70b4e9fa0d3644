"""Masquerade with two ports: what happens when they are used up, and when they come free."""

import pytest

from tests.datapath.lab import Lab
from tests.datapath.sandbox import Sandbox

EXHAUSTED = "drop NO_MAPPING_FOR_NAT_MASQUERADE"


@pytest.fixture(scope="module")
def _two_ports(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "two-ports", nat_port_min=61000, nat_port_max=61001)


@pytest.fixture
def lab(_two_ports: Lab) -> Lab:
    _two_ports.reset()
    return _two_ports


def out(lab: Lab, sentence: str) -> str:
    lab.send("from_container", sentence)
    return lab.send("to_netdev", sentence).says


def test_every_port_is_used_once(lab: Lab):
    told = [out(lab, f"A to W udp 53 from {port}") for port in (40001, 40002, 40003)]
    assert told == ["to-network new", "to-network new", EXHAUSTED]
    assert lab.count(lab.btf.enum("drop_reason")["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"], 2) == 1


@pytest.mark.parametrize(
    "other", ["A to W udp 54 from 40003", "A to W2 udp 53 from 40003", "A to W tcp syn 53 from 40003"]
)
def test_another_destination_has_its_own_ports(lab: Lab, other: str):
    for port in (40001, 40002):
        out(lab, f"A to W udp 53 from {port}")
    assert out(lab, other) == "to-network new"


def test_the_port_of_an_ended_connection_is_taken_over(lab: Lab):
    for port in (40001, 40002):
        out(lab, f"A to W udp 53 from {port}")
    lab.expire("cilium_ct_any4_global")
    assert out(lab, "B to W udp 53 from 40003") == "to-network new"


@pytest.fixture(scope="module")
def unmasked(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "no-masquerade", masquerade=0)


def test_switched_off(unmasked: Lab):
    assert unmasked.send("to_netdev", "A to W udp 53").says == "untouched"
    assert unmasked.send("from_netdev", "W to node udp 61000 from 53").says == "untouched"
