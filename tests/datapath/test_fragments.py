"""Fragments: only the first has ports; the others get them from it, and so the same verdict."""

import pytest
from scapy.layers.inet import IP

from tests.datapath.lab import Lab
from tests.datapath.language import packet

KINDS = ["udp 53", "tcp syn 80", "icmp echo 5", "sctp 9"]


@pytest.mark.parametrize("kind", KINDS)
def test_later_fragments_follow_the_first(lab: Lab, kind: str):
    lab.policy(f"B ingress allow A {kind.split(maxsplit=1)[0]}")
    assert lab.send("from_container", f"A to B {kind} first fragment 9").says == "to-endpoint new"
    assert lab.send("from_container", f"A to B {kind} later fragment 9").says == "to-endpoint established"


def test_later_fragments_have_the_firsts_ports(lab: Lab):
    lab.policy("B ingress allow A udp 53")
    lab.send("from_container", "A to B udp 53 first fragment 9")
    event = lab.send("from_container", "A to B udp 99 later fragment 9").events[-1]
    assert (event["type"], int(event["sport"]), int(event["dport"])) == ("trace", 40000, 53)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["A to B {} later fragment 10", "A to W {} later fragment 9"])
def test_without_its_first_a_fragment_is_dropped(lab: Lab, kind: str, other: str):
    lab.send("from_container", f"A to B {kind} first fragment 9")
    says = lab.send("from_container", other.format(kind)).says
    assert says == "drop FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"


def test_a_refused_first_fragment_takes_the_others_with_it(lab: Lab):
    lab.policy("B ingress deny A udp 53")
    for part in ("first", "later"):
        assert lab.send("from_container", f"A to B udp 53 {part} fragment 9").says == "drop POLICY_DENY"


def test_fragments_from_other_nodes(tunnel: Lab, native: Lab):
    for part, state in (("first", "new"), ("later", "established")):
        sentence = f"R to A udp 53 {part} fragment 9"
        assert native.send("from_netdev", sentence).says == f"to-endpoint {state}"
        assert tunnel.send("from_overlay", sentence, identity=2001).says == f"to-endpoint {state}"


def test_the_nodes_own_fragments_are_not_touched(lab: Lab):
    for part in ("first", "later"):
        assert lab.send("from_netdev", f"W to node udp 53 {part} fragment 9").says == "untouched"


def test_a_fragment_over_the_tcp_flags_is_an_attack(lab: Lab):
    frame = packet("A to B tcp syn 80 later fragment 9")
    frame[IP].frag, frame[IP].chksum = 1, None
    assert lab.send("from_container", bytes(frame)).says == "drop INVALID_PACKET"
