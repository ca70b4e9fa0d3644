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


def test_the_port_of_a_closed_connection_is_taken_over_at_once(lab: Lab):
    for port in (40001, 40002):
        out(lab, f"A to W tcp syn 80 from {port}")
    assert out(lab, "B to W tcp syn 80 from 40003") == EXHAUSTED, "both are open"
    out(lab, "A to W tcp rst 80 from 40001")
    assert out(lab, "B to W tcp syn 80 from 40003") == "to-network new"
    assert out(lab, "B to W tcp syn 80 from 40004") == EXHAUSTED


def test_where_ports_are_used_up_there_are_more(sandbox: Sandbox):
    lab = Lab(sandbox, "wide", nat_port_min=61000, nat_port_max=61001, nat_wide_min=60999)
    for port in (40001, 40002):
        assert out(lab, f"A to W udp 53 from {port}") == "to-network new"
    lab.send("from_container", "A to W udp 53 from 40003")
    seen = lab.send("to_netdev", "A to W udp 53 from 40003")
    assert seen.says == "to-network new"
    assert seen.packet["UDP"].sport == 60999
    assert lab.send("from_netdev", "W to node udp 60999 from 53").says != "untouched"
    assert out(lab, "A to W udp 53 from 40004") == EXHAUSTED


@pytest.fixture(scope="module")
def unmasked(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "no-masquerade", masquerade=0)


def test_switched_off(unmasked: Lab):
    assert unmasked.send("to_netdev", "A to W udp 53").says == "untouched"
    assert unmasked.send("from_netdev", "W to node udp 61000 from 53").says == "untouched"
