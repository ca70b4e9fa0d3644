"""Announced addresses: who asks on the LAN is answered by the program, while the agent's lease lasts and no longer."""

import socket
import subprocess
import time

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from seta_agent.bpf import libbpf, syscall
from tests.datapath import datapath
from tests.datapath.datapath import OBJECTS
from tests.datapath.lab import Lab
from tests.datapath.sandbox import Sandbox

ROUTER_MAC, OWN_MAC, OTHER_MAC = "02:00:00:00:00:99", "02:00:00:00:00:50", "02:00:00:00:00:77"
ROUTER, VIP, FREE = "192.168.50.254", "192.168.50.200", "192.168.50.201"
ROUTER6, VIP6, FREE6 = "fe80::99", "fd00::c8", "fd00::c9"
NOBODY6, ALL_NODES, ALL_NODES_MAC = "::", "ff02::1", "33:33:00:00:00:01"
SOLICITED, SOLICITED_MAC = "ff02::1:ff00:c8", "33:33:ff:00:00:c8"
SECONDS = 1_000_000_000
MAPS = ("cilium_l2_responder_v4", "cilium_l2_responder_v6", "seta_l2_devices")


class Holder:
    """A node that holds VIP and VIP6 on eth0; `until` seconds from now."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.index = lab, lab.ifindex["eth0"]
        for name in MAPS:
            datapath.empty(lab.maps[name])
        self.own_mac = lab.sandbox.run(lambda: _mac("eth0"))
        lab.maps["seta_l2_devices"].set(
            self.index.to_bytes(4, "little"), bytes.fromhex(OWN_MAC.replace(":", "")) + b"\0\0"
        )
        for name, key in (
            ("cilium_l2_responder_v4", {"ip4": int.from_bytes(socket.inet_aton(VIP))}),
            ("cilium_l2_responder_v6", {"ip6": {"bytes": list(socket.inet_pton(socket.AF_INET6, VIP6))}}),
        ):
            datapath.put(lab.maps[name], key | {"ifindex": self.index}, {})
        self.until(5)

    def until(self, seconds: float) -> None:
        deadline = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + int(seconds * SECONDS)
        self.lab.maps["seta_l2_deadline"].set(bytes(4), deadline.to_bytes(8, "little"))

    def hears(self, packet: Packet | bytes, device: str = "eth0") -> Packet | None:
        """What it sends back by the same device; None where the packet went on as it came."""
        data = bytes(packet)
        outcome = self.lab.send("from_netdev", data, device=device)
        assert outcome.events == []
        if outcome.action == "redirect":
            return outcome.packet
        assert (outcome.action, bytes(outcome.packet)[: len(data)]) == ("ok", data)
        return None

    def counted(self) -> list[int]:
        return [int(value["responses_sent"]) for name in MAPS[:2] for _, value in self.lab.entries(name)]


def _mac(device: str) -> str:
    shown = subprocess.run(["ip", "-br", "link", "show", device], check=True, capture_output=True, text=True)
    return shown.stdout.split()[2]


@pytest.fixture
def holder(native: Lab) -> Holder:
    return Holder(native)


def who_has(target: str = VIP, to: str = "ff:ff:ff:ff:ff:ff", **fields: object) -> Packet:
    asks = {"op": 1, "hwsrc": ROUTER_MAC, "psrc": ROUTER, "hwdst": "00:00:00:00:00:00", "pdst": target}
    return Ether(src=ROUTER_MAC, dst=to) / ARP(**asks | fields)


def solicit(target: str = VIP6, source: str = ROUTER6, to: str = SOLICITED_MAC, **ip: object) -> Packet:
    option = ICMPv6NDOptSrcLLAddr(lladdr=ROUTER_MAC) if source != NOBODY6 else b""
    header = IPv6(**{"src": source, "dst": SOLICITED, "hlim": 255} | ip)
    return Ether(src=ROUTER_MAC, dst=to) / header / ICMPv6ND_NS(tgt=target) / option


def test_a_request_gets_the_devices_mac(holder: Holder):
    expected = Ether(src=OWN_MAC, dst=ROUTER_MAC) / ARP(op=2, hwsrc=OWN_MAC, psrc=VIP, hwdst=ROUTER_MAC, pdst=ROUTER)
    assert bytes(holder.hears(who_has())) == bytes(expected)
    assert holder.counted() == [1, 0]


def test_each_answer_is_counted(holder: Holder):
    for _ in range(3):
        assert holder.hears(who_has())
    assert holder.hears(solicit())
    assert holder.counted() == [3, 1]


def test_who_looks_whether_the_address_is_free_is_told_that_it_is_not(holder: Holder):
    answer = holder.hears(who_has(psrc="0.0.0.0"))
    assert (answer[ARP].psrc, answer[ARP].hwsrc, answer[ARP].pdst) == (VIP, OWN_MAC, "0.0.0.0")


@pytest.mark.parametrize("padding", [0, 18])
def test_a_frame_padded_to_ethernets_minimum_is_answered_too(holder: Holder, padding: int):
    answer = holder.hears(bytes(who_has()) + bytes(padding))
    assert answer[ARP].psrc == VIP


def test_a_question_to_this_node_alone_is_answered(holder: Holder):
    assert holder.hears(who_has(to=holder.own_mac))
    assert holder.hears(solicit(to=holder.own_mac))


def test_a_question_to_another_node_is_not_ours(holder: Holder):
    assert holder.hears(who_has(to=OTHER_MAC)) is None
    assert holder.hears(solicit(to=OTHER_MAC)) is None


@pytest.mark.parametrize("question", [who_has(FREE), who_has(ROUTER), solicit(FREE6)], ids=["v4", "own", "v6"])
def test_nothing_is_said_about_an_address_that_is_not_in_the_map(holder: Holder, question: Packet):
    assert holder.hears(question) is None
    assert holder.counted() == [0, 0]


def test_nothing_is_said_on_another_device(holder: Holder):
    assert holder.hears(who_has(), device="wire") is None
    assert holder.hears(solicit(), device="wire") is None


def test_nothing_is_said_while_the_devices_mac_is_not_known(holder: Holder):
    datapath.empty(holder.lab.maps["seta_l2_devices"])
    assert holder.hears(who_has()) is None
    assert holder.hears(solicit()) is None


def test_nothing_is_said_after_the_deadline(holder: Holder):
    holder.until(-0.001)
    assert holder.hears(who_has()) is None
    assert holder.hears(solicit()) is None
    holder.until(5)
    assert holder.hears(who_has())


def test_the_deadline_passes_by_itself(holder: Holder):
    holder.until(0.2)
    assert holder.hears(who_has())
    time.sleep(0.25)
    assert holder.hears(who_has()) is None


def test_a_node_that_was_never_given_a_lease_says_nothing(holder: Holder):
    holder.lab.maps["seta_l2_deadline"].set(bytes(4), bytes(8))
    assert holder.hears(who_has()) is None


@pytest.mark.parametrize("op", [1, 2])
def test_announcements_of_others_are_not_answered(holder: Holder, op: int):
    assert holder.hears(who_has(op=op, psrc=VIP, hwsrc=OTHER_MAC)) is None


def test_an_answer_is_no_question(holder: Holder):
    assert holder.hears(who_has(op=2)) is None
    advertisement = Ether(src=ROUTER_MAC, dst=ALL_NODES_MAC) / IPv6(src=ROUTER6, dst=ALL_NODES, hlim=255)
    assert holder.hears(advertisement / ICMPv6ND_NA(tgt=VIP6)) is None


@pytest.mark.parametrize("fields", [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}], ids=str)
def test_arp_of_something_else(holder: Holder, fields: dict[str, int]):
    assert holder.hears(who_has(**fields)) is None


@pytest.mark.parametrize("length", range(14, 42))
def test_truncated_arp(holder: Holder, length: int):
    assert holder.hears(bytes(who_has())[:length]) is None


def test_a_question_of_another_vlan(holder: Holder):
    tagged = Ether(src=ROUTER_MAC, dst="ff:ff:ff:ff:ff:ff") / Dot1Q(vlan=7) / who_has()[ARP]
    assert holder.hears(tagged) is None


def test_a_solicitation_gets_the_devices_mac(holder: Holder):
    expected = (
        Ether(src=OWN_MAC, dst=ROUTER_MAC)
        / IPv6(src=VIP6, dst=ROUTER6, hlim=255)
        / ICMPv6ND_NA(R=0, S=1, O=1, tgt=VIP6)
        / ICMPv6NDOptDstLLAddr(lladdr=OWN_MAC)
    )
    assert bytes(holder.hears(solicit())) == bytes(expected)  # scapy computes the checksum
    assert holder.counted() == [0, 1]


def test_who_looks_whether_the_ipv6_address_is_free_is_answered_by_multicast(holder: Holder):
    expected = (
        Ether(src=OWN_MAC, dst=ALL_NODES_MAC)
        / IPv6(src=VIP6, dst=ALL_NODES, hlim=255)
        / ICMPv6ND_NA(R=0, S=0, O=1, tgt=VIP6)
        / ICMPv6NDOptDstLLAddr(lladdr=OWN_MAC)
    )
    assert bytes(holder.hears(solicit(source=NOBODY6))) == bytes(expected)


@pytest.mark.parametrize("fields", [{"hlim": 254}, {"version": 5}, {"plen": 23}, {"nh": 17}], ids=str)
def test_a_solicitation_that_no_neighbour_sends(holder: Holder, fields: dict[str, int]):
    assert holder.hears(solicit(**fields)) is None


def test_a_solicitation_with_a_code(holder: Holder):
    question = solicit()
    question[ICMPv6ND_NS].code = 1
    assert holder.hears(question) is None


@pytest.mark.parametrize("length", range(14, 78))
def test_truncated_nd(holder: Holder, length: int):
    assert holder.hears(bytes(solicit())[:length]) is None


def test_the_agents_frame_leaves_by_the_device_it_names(sandbox: Sandbox):
    def send_and_see() -> bytes:
        with libbpf.Object(OBJECTS / "l2_send.bpf.o") as loaded, _listening("wire") as wire:
            loaded.load()
            context = bytearray(192)
            context[40:44] = socket.if_nametoindex("eth0").to_bytes(4, "little")
            run = syscall.prog_test_run(loaded.program_fd("l2_send"), frame, bytes(context))
            assert run.retval == 0
            while (seen := wire.recv(2048)) != frame:
                assert seen
            return seen

    frame = bytes(who_has(psrc=VIP, hwsrc=OWN_MAC))
    assert sandbox.run(send_and_see) == frame


def _listening(device: str) -> socket.socket:
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    heard.bind((device, 0))
    heard.settimeout(2)
    return heard
