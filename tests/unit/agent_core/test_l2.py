"""Announced addresses as map entries and as frames."""

import ipaddress

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from seta_agent.desired import l2
from seta_agent.desired.l2 import Answer, Link
from seta_agent.l2 import frames
from seta_agent.tables import Announcement, NodeAnnouncements

MAC, MAC_TEXT = bytes.fromhex("020000000005"), "02:00:00:00:00:05"
VIP, VIP6 = ipaddress.ip_address("10.10.200.1"), ipaddress.ip_address("fd00::1:2:c8")
LINKS = (Link("ens5", 2, MAC, up=True), Link("ens6", 3, MAC, up=False))


def test_each_address_is_answered_for_on_each_device_that_is_up():
    announced = NodeAnnouncements("u", 1, (Announcement("shop", "web", (VIP, VIP6)), Announcement("shop", "x", (VIP,))))
    assert l2.answers(announced, LINKS) == {Answer(4, VIP.packed, 2), Answer(6, VIP6.packed, 2)}
    assert l2.answers(None, LINKS) == set()


def test_the_responders_entries(layouts):
    assert l2.responder([Answer(4, VIP.packed, 2), Answer(4, VIP.packed, 3)], *layouts[l2.V4]) == {
        VIP.packed + b"\2\0\0\0": bytes(8),
        VIP.packed + b"\3\0\0\0": bytes(8),
    }
    assert l2.responder([Answer(6, VIP6.packed, 2)], *layouts[l2.V6]) == {VIP6.packed + b"\2\0\0\0\0\0\0\0": bytes(8)}
    assert l2.responder([], *layouts[l2.V4]) == {}


def test_the_macs_of_devices_that_are_up(layouts):
    assert l2.devices(LINKS, *layouts[l2.DEVICES]) == {b"\2\0\0\0": MAC + b"\0\0"}


def test_an_ipv4_address_is_announced_as_a_question_and_as_an_answer():
    question, reply = frames.announcements(VIP.packed, MAC)
    ether, claim = Ether(src=MAC_TEXT, dst="ff:ff:ff:ff:ff:ff"), {"hwsrc": MAC_TEXT, "psrc": str(VIP), "pdst": str(VIP)}
    assert question == bytes(ether / ARP(op=1, hwdst="00:00:00:00:00:00", **claim))
    assert reply == bytes(ether / ARP(op=2, hwdst="ff:ff:ff:ff:ff:ff", **claim))


def test_an_ipv6_address_is_announced_to_all_nodes():
    expected = (
        Ether(src=MAC_TEXT, dst="33:33:00:00:00:01")
        / IPv6(src=str(VIP6), dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(R=0, S=0, O=1, tgt=str(VIP6))
        / ICMPv6NDOptDstLLAddr(lladdr=MAC_TEXT)
    )
    assert frames.announcements(VIP6.packed, MAC) == [bytes(expected)]


def test_neighbours_ask_in_the_group_of_the_addresss_last_three_bytes():
    assert frames.solicited_node(VIP6.packed) == ipaddress.ip_address("ff02::1:ff02:c8").packed
