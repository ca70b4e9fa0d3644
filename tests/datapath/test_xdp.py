"""XDP carries on what from_netdev began, and does to each packet exactly what that would do; all else it lets pass."""

import os
import socket
import struct

import pytest
from scapy.utils import checksum

from seta_agent.bpf import libbpf, syscall
from tests.datapath import datapath, language
from tests.datapath.datapath import OBJECTS, SIZES
from tests.datapath.lab import Lab
from tests.datapath.lb_maps import LbMaps
from tests.datapath.sandbox import Sandbox

XDP = {1: "drop", 2: "pass", 3: "transmit", 4: "redirect"}
NODEPORT, EXTERNAL_IP, CLUSTERIP, SOURCE_RANGE, DSR = 0x42, 0x41, 0, 0x80, 0x8000
EXTERNAL = "203.0.113.80"
MACS = 12  # bytes; those of a datagram are the kernel's neighbour's to write, after from_netdev


class XdpLab(Lab):
    """A node with native routing and the XDP program on the same maps."""

    def __init__(self, sandbox: Sandbox, name: str, **config: int) -> None:
        super().__init__(sandbox, name, tunnel=0, **{"trace_level": 1} | config)
        self.lb = LbMaps(self.maps)
        sandbox.run(self._load_xdp, {"trace_level": 1} | config)

    def _load_xdp(self, config: dict[str, int]) -> None:
        self.xdp = libbpf.Object(OBJECTS / "xdp.bpf.o", self._root)
        for name in self.xdp.btf.maps.keys() & SIZES.keys():
            self.xdp.set_max_entries(name, SIZES[name])
        own = {"node_ip": {"v4": datapath.address("node")}, "nat_port_min": 61000, "nat_port_max": 61999}
        self.xdp.set_rodata("cfg", own | config)
        self.xdp.load()

    def before_stack(self, data: bytes) -> tuple[str, bytes]:
        """What XDP does with a frame from the network: its action, and the frame then."""
        return self.sandbox.run(self._before_stack, data)

    def _before_stack(self, data: bytes) -> tuple[str, bytes]:
        ctx = struct.pack("=6I", 0, len(data), 0, self.ifindex["eth0"], 0, 0)
        run = syscall.prog_test_run(self.xdp.program_fd("xdp_service"), data, ctx)
        return XDP[run.retval], run.data

    def after(self, data: bytes) -> bytes:
        """The frame that from_netdev redirects."""
        outcome = self.send("from_netdev", data)
        assert outcome.action == "redirect", outcome.says
        return bytes(outcome.packet)


@pytest.fixture(scope="module")
def _lab(sandbox: Sandbox) -> XdpLab:
    return XdpLab(sandbox, "xdp")


@pytest.fixture
def lab(_lab: XdpLab) -> XdpLab:
    _lab.reset()
    for name in ("cilium_lb4_services_v2", "cilium_lb4_backends_v3", "cilium_lb4_source_range"):
        datapath.empty(_lab.maps[name])
    return _lab


def frame(sentence: str) -> bytes:
    return bytes(language.packet(sentence))


def backend_of(lab: XdpLab, protocol: str = "tcp", flags: int = NODEPORT, front: str = "192.168.50.1") -> None:
    """Port 30080 of a frontend, with the pod on the other node behind it."""
    lab.lb.service(front, 30080, protocol, [(language.address("R"), 8080)], flags=flags)


def begin(lab: XdpLab, sentence: str = "W to node tcp syn 30080") -> int:
    """The connection's first packet, as only from_netdev handles it: the port it left with."""
    assert lab.before_stack(frame(sentence)) == ("pass", frame(sentence))
    return int.from_bytes(lab.after(frame(sentence))[34:36], "big")


FORWARD = ["tcp ack 30080", "tcp psh 30080", "tcp ack 30080 from 40000"]


@pytest.mark.parametrize("words", FORWARD)
@pytest.mark.parametrize("front", ["192.168.50.1", EXTERNAL])
def test_what_from_netdev_began_goes_on_the_same_way(lab: XdpLab, words: str, front: str):
    backend_of(lab, front=front)
    begin(lab, f"W to {front} tcp syn 30080")
    packet = frame(f"W to {front} {words}")
    assert lab.before_stack(packet) == ("transmit", lab.after(packet))


@pytest.mark.parametrize("length", [12, 13, 500, 1400])
def test_datagrams_too(lab: XdpLab, length: int):
    backend_of(lab, "udp")
    begin(lab, "W to node udp 30080")
    packet = frame(f"W to node udp 30080 length {length}")
    action, sent = lab.before_stack(packet)
    assert (action, sent[MACS:]) == ("transmit", lab.after(packet)[MACS:])


def test_a_datagram_without_a_checksum_gets_none(lab: XdpLab):
    backend_of(lab, "udp")
    begin(lab, "W to node udp 30080")
    packet = bytearray(frame("W to node udp 30080 length 100"))
    packet[40:42] = b"\0\0"
    action, sent = lab.before_stack(bytes(packet))
    assert (action, sent[MACS:]) == ("transmit", lab.after(bytes(packet))[MACS:])
    assert sent[40:42] == b"\0\0"


@pytest.mark.parametrize("words", ["tcp ack", "tcp psh"])
def test_the_answer_comes_back_the_same_way(lab: XdpLab, words: str):
    backend_of(lab)
    port = begin(lab)
    answer = frame(f"R to node {words} {port} from 8080")
    action, sent = lab.before_stack(answer)
    assert (action, sent) == ("transmit", lab.after(answer))
    assert sent[26:38] == bytes([192, 168, 50, 1, 203, 0, 113, 5]) + struct.pack(">HH", 30080, 40000)


def test_direct_server_return_keeps_the_clients_address(lab: XdpLab):
    backend_of(lab, flags=NODEPORT | DSR)
    lab.after(frame("W to node tcp syn 30080"))
    packet = frame("W to node tcp psh 30080")
    action, sent = lab.before_stack(packet)
    assert (action, sent) == ("transmit", lab.after(packet))
    assert sent[26:30] == packet[26:30]


@pytest.mark.parametrize("flag", ["syn", "fin", "rst"])
def test_beginnings_and_ends_are_left_to_from_netdev(lab: XdpLab, flag: str):
    backend_of(lab)
    begin(lab)
    packet = frame(f"W to node tcp {flag} 30080")
    assert lab.before_stack(packet) == ("pass", packet)


def passes(lab: XdpLab, packet: bytes) -> bool:
    return lab.before_stack(packet) == ("pass", packet)


def test_a_backend_of_this_node_is_left_to_from_netdev(lab: XdpLab):
    lab.lb.service("192.168.50.1", 30080, "tcp", [(language.address("A"), 8080)], flags=NODEPORT)
    lab.send("from_netdev", frame("W to node tcp syn 30080"))
    assert passes(lab, frame("W to node tcp ack 30080"))


@pytest.mark.parametrize(
    "sentence",
    [
        "W to node tcp ack 22",  # no service
        "W2 to node tcp ack 30080",  # another client's: no connection
        "W to node tcp ack 30080 from 40001",
        "W to node icmp echo 1",
        "W to node sctp 30080",
        "W to node tcp first fragment 7 30080",
        "W to node tcp later fragment 7",
        "W to node icmp unreachable about node to W tcp ack 40000 from 30080",
        "R to node tcp ack 61001 from 8081",  # nobody's answer
        "W to A tcp ack 80",  # a pod, without a service
    ],
)
def test_what_is_not_known_or_not_plain_passes(lab: XdpLab, sentence: str):
    backend_of(lab)
    begin(lab)
    assert passes(lab, frame(sentence))


def test_malformed_packets_pass(lab: XdpLab):
    backend_of(lab)
    begin(lab)
    good = frame("W to node tcp psh 30080")
    assert lab.before_stack(good)[0] == "transmit"
    for at, value in ((14, 0x46), (14, 0x65), (16, 0xFF), (46, 0x40), (12, 0x86), (20, 0x20)):
        bad = bytearray(good)
        bad[at] = value  # options, version 6, longer than it is, TCP header too short, no IPv4, fragment
        assert passes(lab, bytes(bad)), f"byte {at}"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_checksum_that_was_left_to_a_device_is_left_to_from_netdev(lab: XdpLab, protocol: str):
    """As veths and virtual machines have them: only the stack knows that the sum is not complete."""
    backend_of(lab, protocol)
    begin(lab, f"W to node {protocol} {'syn ' if protocol == 'tcp' else ''}30080")
    packet = bytearray(frame(f"W to node {protocol} {'psh 30080' if protocol == 'tcp' else '30080 length 50'}"))
    assert lab.before_stack(bytes(packet))[0] == "transmit"
    pseudo = packet[26:34] + bytes([0, packet[23]]) + (len(packet) - 34).to_bytes(2, "big")
    at = 50 if protocol == "tcp" else 40
    packet[at : at + 2] = (~checksum(bytes(pseudo)) & 0xFFFF).to_bytes(2, "big")
    assert passes(lab, bytes(packet))


def test_an_answer_to_a_masqueraded_pod_passes(lab: XdpLab):
    lab.send("from_container", "A to W tcp syn 80")
    out = lab.send("to_netdev", "A to W tcp syn 80").packet
    assert passes(lab, frame(f"W to node tcp ack {out['TCP'].sport} from 80"))


def test_clients_out_of_the_source_ranges_pass(lab: XdpLab):
    """from_netdev drops them, and says so."""
    backend_of(lab)
    begin(lab)
    backend_of(lab, flags=NODEPORT | SOURCE_RANGE)
    packet = frame("W to node tcp ack 30080")
    assert passes(lab, packet)
    lab.lb.put("cilium_lb4_source_range", {"prefixlen": 32 + 24, "rev_nat_id": 7, "addr": 0xCB007100}, 1)
    backend_of(lab)
    begin(lab)
    backend_of(lab, flags=NODEPORT | SOURCE_RANGE)
    assert lab.before_stack(packet)[0] == "transmit"


def test_without_its_service_a_connection_passes(lab: XdpLab):
    backend_of(lab)
    begin(lab)
    backend_of(lab, flags=CLUSTERIP)
    assert passes(lab, frame("W to node tcp ack 30080"))


def test_a_backend_that_is_gone_is_left_to_from_netdev(lab: XdpLab):
    backend_of(lab)
    begin(lab)
    datapath.empty(lab.maps["cilium_lb4_backends_v3"])
    assert passes(lab, frame("W to node tcp ack 30080"))


def test_an_expired_connection_passes(lab: XdpLab):
    backend_of(lab)
    port = begin(lab)
    lab.expire()
    assert passes(lab, frame("W to node tcp ack 30080"))
    assert passes(lab, frame(f"R to node tcp ack {port} from 8080"))


def test_without_its_port_a_connection_passes(lab: XdpLab):
    """The LRU may take either half of the mapping."""
    backend_of(lab)
    begin(lab)
    datapath.empty(lab.maps["cilium_snat_v4_external"])
    assert passes(lab, frame("W to node tcp ack 30080"))


def test_what_is_counted_does_not_depend_on_the_way(lab: XdpLab):
    backend_of(lab)
    begin(lab)
    packet = frame("W to node tcp psh 30080")
    seen = []
    for step in (lab.after, lab.before_stack):
        step(packet)
        [(_, entry)] = [(k, v) for k, v in lab.entries("cilium_ct4_global") if int(k["flags"]) == 4]
        seen.append((int(entry["packets"]), int(entry["bytes"]), lab.count(0, 3)))
    first = len(frame("W to node tcp syn 30080"))
    assert seen == [(2, first + len(packet), 2), (3, first + 2 * len(packet), 3)]


def test_a_packet_of_xdp_keeps_its_connection_alive(lab: XdpLab):
    backend_of(lab)
    begin(lab)
    [(key, _)] = [(k, v) for k, v in lab.entries("cilium_ct4_global") if int(k["flags"]) == 4]
    lab.before_stack(frame("W to node tcp psh 30080"))
    [(_, young)] = [(k, v) for k, v in lab.entries("cilium_ct4_global") if k == key]
    lab.rewrite("cilium_ct4_global", key, lifetime=int(young["lifetime"]) - 100)
    lab.before_stack(frame("W to node tcp psh 30080"))
    [(_, again)] = [(k, v) for k, v in lab.entries("cilium_ct4_global") if k == key]
    assert int(again["lifetime"]) >= int(young["lifetime"])


def test_where_the_next_hop_is_not_known_the_packet_passes(sandbox: Sandbox, lab: XdpLab):
    backend_of(lab)
    begin(lab)
    packet = frame("W to node tcp ack 30080")
    sandbox.ip("neigh del 192.168.50.2 dev eth0")
    try:
        assert passes(lab, packet)
    finally:
        sandbox.ip("neigh add 192.168.50.2 lladdr 02:00:00:00:00:52 dev eth0 nud permanent")
    assert lab.before_stack(packet)[0] == "transmit"


def test_by_another_device_the_packet_passes(sandbox: Sandbox, lab: XdpLab):
    """The other device need not take frames from XDP."""
    backend_of(lab)
    begin(lab)
    sandbox.ip("route add 10.1.2.21/32 dev lxcA", "neigh add 10.1.2.21 lladdr 02:00:00:00:00:99 dev lxcA nud permanent")
    try:
        assert passes(lab, frame("W to node tcp ack 30080"))
    finally:
        sandbox.ip("route del 10.1.2.21/32 dev lxcA", "neigh del 10.1.2.21 dev lxcA")


def test_what_does_not_fit_the_way_passes(sandbox: Sandbox, lab: XdpLab):
    backend_of(lab, "udp")
    begin(lab, "W to node udp 30080")
    sandbox.ip("route replace 10.1.2.0/24 via 192.168.50.2 mtu lock 600")
    try:
        assert passes(lab, frame("W to node udp 30080 length 1000"))
        assert lab.before_stack(frame("W to node udp 30080 length 500"))[0] == "transmit"
    finally:
        sandbox.ip("route replace 10.1.2.0/24 via 192.168.50.2")


def test_where_every_packet_is_traced_each_goes_through_from_netdev(sandbox: Sandbox):
    lab = XdpLab(sandbox, "traced", trace_level=2)
    backend_of(lab)
    begin(lab)
    assert passes(lab, frame("W to node tcp ack 30080"))


def _answer_on_wire(lab: XdpLab, packet: bytes, flags: int) -> bytes:
    """What comes back where a frame is put on the wire while the program hangs on the device.

    A veth takes what the other end's driver sends from XDP only while it polls, as it does for a program of its own.
    """
    devices = ["eth0", "wire"] if flags == syscall.XDP_NATIVE else ["eth0"]
    program = lab.xdp.program_fd("xdp_service")
    links = [syscall.link_create(program, socket.if_nametoindex(name), syscall.XDP, flags) for name in devices]
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as wire:
            wire.bind(("wire", 0))
            wire.settimeout(3)
            wire.send(packet)
            while (found := wire.recvfrom(2048))[1][2] == socket.PACKET_OUTGOING:
                pass
            return found[0]
    finally:
        for link in links:
            os.close(link)


@pytest.mark.parametrize("flags", [syscall.XDP_GENERIC, syscall.XDP_NATIVE], ids=["generic", "native"])
def test_on_a_real_device(lab: XdpLab, flags: int):
    backend_of(lab)
    begin(lab)
    packet = frame("W to node tcp psh 30080")
    assert lab.sandbox.run(_answer_on_wire, lab, packet, flags) == lab.after(packet)
