"""Direct server return: the balancing node sends the client's packet on, the backend's node answers the client."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, IPerror, TCPerror
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.datapath.lab import Lab
from tests.datapath.language import WORLD
from tests.datapath.nodeport import (
    DSR,
    LOADBALANCER,
    MARK_SERVICE,
    NODEPORT,
    answer,
    error_about,
    frame,
    no_services,
    serve,
    sound,
    way,
)

OPTION = bytes.fromhex("9e08")


@pytest.fixture
def lab(native: Lab) -> Iterator[Lab]:
    yield from no_services(native)


@pytest.fixture
def tunnel(tunnel: Lab) -> Iterator[Lab]:
    yield from no_services(tunnel)


def announced(packet: Packet) -> bytes | None:
    """The frontend in the packet's option: port and address."""
    raw = bytes(packet)
    return raw[36:42] if packet[IP].ihl == 7 and raw[34:36] == OPTION else None


def of(front: str, port: int) -> bytes:
    return port.to_bytes(2, "big") + bytes(int(part) for part in WORLD[front].split("."))


def as_sent(front: str, port: int, backend: str, flags: str = "S") -> bytes:
    """What a balancing node sends to this one."""
    option = OPTION + of(front, port)
    whole = bytes(IP(src=WORLD["W"], dst=WORLD[backend]) / TCP(sport=40000, dport=8080, flags=flags))
    header = bytearray(whole[:20] + option)
    header[0], header[2:4], header[10:12] = 0x47, (len(whole) + 8).to_bytes(2, "big"), b"\0\0"
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 28, 2))
    total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    return bytes(Ether(dst="02:00:00:00:01:01", src="02:00:00:00:02:02", type=0x800)) + bytes(header) + whole[20:]


def test_the_first_packet_says_what_the_client_asked_for(lab: Lab):
    serve(lab, "lb tcp 80", "R 8080", flags=LOADBALANCER | DSR)
    seen = lab.send("from_netdev", "W to lb tcp syn 80")
    assert (seen.says, seen.action, seen.mark) == ("to-network new", "redirect", MARK_SERVICE)
    assert (way(seen.packet), announced(seen.packet)) == ("W:40000 > R:8080", of("lb", 80))
    assert (sound(seen.packet), len(seen.packet[IP])) == (True, seen.packet[IP].len)
    assert lab.entries("cilium_snat_v4_external") == []


def test_later_packets_need_no_option(lab: Lab):
    serve(lab, "lb tcp 80", "R 8080", flags=LOADBALANCER | DSR)
    lab.send("from_netdev", "W to lb tcp syn 80")
    again = lab.send("from_netdev", "W to lb tcp syn 80").packet
    later = lab.send("from_netdev", "W to lb tcp ack 80").packet
    assert (announced(again), announced(later)) == (of("lb", 80), None)
    assert (way(later), sound(later)) == ("W:40000 > R:8080", True)


def test_a_connection_keeps_its_way_when_the_service_changes(lab: Lab):
    serve(lab, "lb tcp 80", "R 8080", flags=LOADBALANCER | DSR)
    lab.send("from_netdev", "W to lb tcp syn 80")
    serve(lab, "lb tcp 80", "R 8080", flags=LOADBALANCER)
    assert way(lab.send("from_netdev", "W to lb tcp ack 80").packet) == "W:40000 > R:8080"
    assert lab.send("from_netdev", "W to lb tcp syn 80 from 40001").packet[IP].src == WORLD["node"]


@pytest.mark.parametrize("kind", ["udp", "sctp"])
def test_only_tcp(lab: Lab, kind: str):
    serve(lab, f"lb {kind} 80", "R 80", flags=LOADBALANCER | DSR)
    assert lab.send("from_netdev", f"W to lb {kind} 80").packet[IP].src == WORLD["node"]


def test_not_through_a_tunnel_and_not_to_other_nodes_themselves(lab: Lab, tunnel: Lab):
    serve(tunnel, "lb tcp 80", "R 8080", flags=LOADBALANCER | DSR)
    assert tunnel.send("from_netdev", "W to lb tcp syn 80").packet[IP].src == WORLD["node"]
    serve(lab, "lb tcp 81", "node2 8080", flags=LOADBALANCER | DSR)
    assert lab.send("from_netdev", "W to lb tcp syn 81").packet[IP].src == WORLD["node"]


def test_only_where_the_backends_node_can_tell_who_was_asked(lab: Lab):
    """Node ports are served at all addresses of the node; the other nodes know one of them as its."""
    for front in ("node", "192.168.50.77"):
        serve(lab, f"{front} tcp 30080", "R 8080", flags=NODEPORT | DSR)
    assert way(lab.send("from_netdev", "W to node tcp syn 30080").packet) == "W:40000 > R:8080"
    assert lab.send("from_netdev", "W to 192.168.50.77 tcp syn 30080").packet[IP].src == WORLD["node"]


def test_a_backend_here_needs_none_of_it(lab: Lab):
    serve(lab, "lb tcp 80", "A 8080", flags=LOADBALANCER | DSR)
    seen = lab.send("from_netdev", "W to lb tcp syn 80")
    assert (seen.says, announced(seen.packet), way(seen.packet)) == ("to-endpoint new", None, "W:40000 > A:8080")


@pytest.mark.parametrize(
    ("front", "port", "flags", "here"),
    [("lb", 80, LOADBALANCER, "lb"), ("node2", 30080, NODEPORT, "any")],
    ids=["load balancer", "another node's port"],
)
def test_the_backends_node_answers_the_client(lab: Lab, front: str, port: int, flags: int, here: str):
    serve(lab, f"{here} tcp {port}", "A 8080", flags=flags | DSR)
    lab.policy("A ingress allow world tcp 8080")
    seen = lab.send("from_netdev", as_sent(front, port, "A"))
    assert (seen.says, way(seen.packet), seen.packet[IP].ihl) == ("to-endpoint new", "W:40000 > A:8080", 5)
    assert (sound(seen.packet), len(seen.packet[IP])) == (True, seen.packet[IP].len)
    for _ in range(2):
        back = lab.send("from_container", answer(seen.packet), "lxcA")
        assert (back.says, way(back.packet)) == ("to-network reply", f"{front}:{port} > W:40000")
        assert (sound(back.packet), back.mark) == (True, MARK_SERVICE)
        lab.send("from_netdev", frame(IP(src=WORLD["W"], dst=WORLD["A"]) / TCP(sport=40000, dport=8080, flags="A")))
    told = lab.send("from_container", error_about(seen.packet, "A", "W"), "lxcA").packet
    assert (way(told), told[IPerror].dst, told[TCPerror].dport) == (f"{front} > W", WORLD[front], port)


@pytest.mark.parametrize(("front", "port"), [("W2", 80), ("lb", 81), ("node2", 30081), ("lb", 443)])
def test_nobody_else_chooses_whom_this_node_answers_as(lab: Lab, front: str, port: int):
    serve(lab, "lb tcp 80", "A 8080", flags=LOADBALANCER | DSR)
    serve(lab, "lb tcp 443", "A 8080", flags=LOADBALANCER, rev_nat=8)
    assert lab.send("from_netdev", as_sent(front, port, "A")).says == "drop INVALID_SOURCE_IP"


def test_other_options_stay(lab: Lab):
    sent = bytearray(as_sent("lb", 80, "A"))
    sent[34] = 0x94  # router alert
    seen = lab.send("from_netdev", bytes(sent))
    assert (seen.says, seen.packet[IP].ihl) == ("to-endpoint new", 7)


def test_an_error_about_the_backends_answer_is_sent_on(lab: Lab):
    """It comes to the balancing node, in whose name the other one answered."""
    serve(lab, "lb tcp 80", "R 8080", flags=LOADBALANCER | DSR)
    lab.send("from_netdev", "W to lb tcp syn 80")
    back = IP(src=WORLD["lb"], dst=WORLD["W"]) / TCP(sport=80, dport=40000, flags="A")
    told = lab.send("from_netdev", error_about(Ether() / back, "W2", "lb"))
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-network related", "W2 > R", True)
    assert (told.packet[IPerror].src, told.packet[TCPerror].sport) == (WORLD["R"], 8080)
    assert told.packet[ICMP].nexthopmtu == 1400


def test_the_client_alone_ends_the_entry(lab: Lab):
    serve(lab, "lb tcp 80", "R 8080", flags=LOADBALANCER | DSR)
    lab.send("from_netdev", "W to lb tcp syn 80")
    lab.send("from_netdev", "W to lb tcp fin 80")
    (found,) = [value for _, value in lab.entries("cilium_ct4_global")]
    assert int(found["flags"]) & 3 == 3
