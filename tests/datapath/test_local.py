"""What a pod sends, on its own node: straight into the target's namespace, or to the stack."""

import pytest
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    IPv6,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.datapath.lab import LXC_MAC, POD_MAC, Lab

WAYS = [
    ("A to B tcp syn 80", "to-endpoint new"),
    ("A to B udp 53", "to-endpoint new"),
    ("A to B icmp echo 7", "to-endpoint new"),
    ("A to B sctp 9", "to-endpoint new"),
    ("A to A tcp syn 80", "to-endpoint new"),
    ("B to A tcp syn 80", "to-endpoint new"),
    ("A to node tcp syn 22", "to-host new"),
    ("A to router icmp echo 1", "to-host new"),
    ("A to node2 tcp syn 22", "to-stack new"),
    ("A to W tcp syn 443", "to-stack new"),
    ("A to broadcast udp 67", "to-stack new"),
]
ACTION = {"to-endpoint": "redirect", "to-host": "ok", "to-stack": "ok"}


@pytest.mark.parametrize(("sentence", "says"), WAYS)
def test_where_it_goes(lab: Lab, sentence: str, says: str):
    outcome = lab.send("from_container", sentence)
    assert (outcome.says, outcome.action) == (says, ACTION[says.split(maxsplit=1)[0]])


def test_the_target_sees_its_veth_as_sender(lab: Lab):
    seen = lab.send("from_container", "A to B tcp syn 80").packet
    assert (seen.src, seen.dst) == (LXC_MAC["B"], POD_MAC["B"])


def test_nothing_else_of_the_packet_changes(lab: Lab):
    first, second = (lab.send("from_container", f"A to {target} tcp syn 80") for target in ("B", "W"))
    assert bytes(first.packet)[26:30] == bytes(second.packet)[26:30]
    assert first.packet["IP"].ttl == 64


@pytest.mark.parametrize(
    ("sentence", "device"),
    [
        ("A to B tcp syn 80", "lxcB"),
        ("nobody to B tcp syn 80", "lxcA"),
        ("W to B udp 53", "lxcA"),
        ("node to B udp 53", "lxcA"),
    ],
)
def test_a_pod_speaks_with_its_own_address_from_its_own_device(lab: Lab, sentence: str, device: str):
    assert lab.send("from_container", sentence, device).says == "drop INVALID_SOURCE_IP"


def test_an_unknown_target_in_the_own_range_is_the_worlds(lab: Lab):
    outcome = lab.send("from_container", "A to nobody tcp syn 80")
    assert (outcome.says, outcome.events[-1]["dst_identity"]) == ("to-stack new", 2)


LINK = Ether() / IPv6(src="fe80::1", dst="ff02::2")
IPV6 = [
    (LINK / ICMPv6ND_NS(), "from-endpoint new"),
    (LINK / ICMPv6ND_RS(), "from-endpoint new"),
    (LINK / IPv6ExtHdrHopByHop() / ICMPv6MLReport2(), "from-endpoint new"),
    (LINK / ICMPv6ND_RA(), "drop UNSUPPORTED_L3_PROTOCOL"),
    (LINK / ICMPv6EchoRequest(), "drop UNSUPPORTED_L3_PROTOCOL"),
    (LINK / Raw(b"x" * 8), "drop UNSUPPORTED_L3_PROTOCOL"),
]


@pytest.mark.parametrize(
    ("frame", "says"), IPV6, ids=lambda value: value if isinstance(value, str) else value.summary()
)
def test_of_ipv6_only_what_a_link_needs(lab: Lab, frame: Ether, says: str):
    assert lab.send("from_container", bytes(frame)).says == says


@pytest.mark.parametrize("ethertype", [0x8100, 0x88CC, 0x8863])
def test_neither_ip_nor_arp(lab: Lab, ethertype: int):
    frame = bytes(Ether(type=ethertype) / Raw(b"x" * 40))
    assert lab.send("from_container", frame).says == "drop UNSUPPORTED_L3_PROTOCOL"
