"""Masquerade: the world sees the node, and answers find their pod again."""

import ipaddress
import socket

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.sctp import SCTP
from scapy.packet import Packet

from tests.datapath import datapath
from tests.datapath.lab import HOST, POD_MAC, Lab, Outcome
from tests.datapath.language import WORLD
from tests.datapath.nodeport import frame, sound

NODE, POD, OUTSIDE = WORLD["node"], WORLD["A"], WORLD["W"]
PORTS = range(61000, 62000)


def out(lab: Lab, sentence: str) -> Outcome:
    """A packet of pod A on its way to the world, through both programs."""
    assert lab.send("from_container", sentence).says.startswith("to-stack")
    return lab.send("to_netdev", sentence)


def back(sent: Packet) -> Packet:
    """The answer to a packet as the world saw it."""
    ip = IP(src=sent[IP].dst, dst=sent[IP].src)
    if ICMP in sent:
        return ip / ICMP(type=0, id=sent[ICMP].id) / sent[ICMP].payload
    l4 = next(kind for kind in (TCP, UDP, SCTP) if kind in sent)
    flags = {"flags": "SA"} if l4 is TCP else {}
    return ip / l4(sport=sent[l4].dport, dport=sent[l4].sport, **flags) / sent[l4].payload


def port(packet: Packet) -> int:
    return packet[ICMP].id if ICMP in packet else packet.sport


@pytest.mark.parametrize("kind", ["tcp syn 443", "udp 53", "icmp echo 7", "sctp 9"])
def test_there_and_back(lab: Lab, kind: str):
    sent = out(lab, f"A to W {kind}")
    assert (sent.says, sent.action) == ("to-network new", "ok")
    assert (sent.packet[IP].src, sent.packet[IP].dst, sound(sent.packet)) == (NODE, OUTSIDE, True)
    assert port(sent.packet) in PORTS

    answer = lab.send("from_netdev", frame(back(sent.packet)))
    assert (answer.says, answer.action) == ("to-endpoint reply", "redirect")
    assert (answer.packet[IP].src, answer.packet[IP].dst, sound(answer.packet)) == (OUTSIDE, POD, True)
    assert answer.packet.dst == POD_MAC["A"]
    assert (answer.packet[ICMP].id if ICMP in answer.packet else answer.packet.dport) == (
        7 if "icmp" in kind else 40000
    )


@pytest.mark.parametrize("kind", ["tcp syn 443", "udp 53", "icmp echo 7", "sctp 9"])
def test_a_device_may_have_another_address(lab: Lab, kind: str):
    there = ipaddress.ip_address("203.0.113.9").packed.ljust(16, b"\0")
    key = {"ifindex": lab.ifindex["eth0"], "family": 1}
    datapath.put(lab.maps["seta_masquerade"], key, {"ip": {"bytes": list(there)}})
    lab.endpoint("203.0.113.9", flags=HOST, sec_id=1)
    sent = out(lab, f"A to W {kind}")
    assert (sent.says, sent.packet[IP].src, sound(sent.packet)) == ("to-network new", "203.0.113.9", True)

    answer = lab.send("from_netdev", frame(back(sent.packet)))
    assert (answer.says, answer.packet[IP].dst, answer.packet.dst) == ("to-endpoint reply", POD, POD_MAC["A"])
    assert port(out(lab, f"A to W {kind}").packet) == port(sent.packet)

    datapath.empty(lab.maps["seta_masquerade"])
    assert out(lab, f"A to W {kind}").packet[IP].src == NODE


@pytest.mark.parametrize("kind", ["tcp syn 443", "udp 53", "icmp echo 7", "sctp 9"])
def test_a_connection_keeps_its_port(lab: Lab, kind: str):
    assert len({port(out(lab, f"A to W {kind}").packet) for _ in range(5)}) == 1
    assert len(lab.entries("cilium_snat_v4_external")) == 2


def test_connections_have_ports_of_their_own(lab: Lab):
    sources = [port(out(lab, f"{pod} to W tcp syn 443 from {n}").packet) for n in (40000, 40001) for pod in "A"]
    assert len(set(sources)) == 2


def test_the_own_port_is_kept_where_it_is_in_range(lab: Lab):
    assert port(out(lab, "A to W tcp syn 443 from 61234").packet) == 61234


def test_two_pods_with_the_same_port(lab: Lab):
    lab.send("from_container", "B to W tcp syn 443 from 61234")
    first = port(out(lab, "A to W tcp syn 443 from 61234").packet)
    second = port(lab.send("to_netdev", "B to W tcp syn 443 from 61234").packet)
    assert (first == 61234, second == 61234, second in PORTS) == (True, False, True)


@pytest.mark.parametrize(("kind", "made"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_of_the_nodes_own_socket_is_left_to_it(lab: Lab, kind: str, made: socket.SocketKind):
    with lab.sandbox.run(socket.socket, socket.AF_INET, made) as own:
        own.bind(("0.0.0.0", 61234))
        if made is socket.SOCK_STREAM:
            own.listen()
        found = port(out(lab, f"A to W {kind} 443 from 61234").packet)
    assert (found != 61234, found in PORTS) == (True, True)


UNTOUCHED = [
    "node to W tcp syn 443",
    "W to A tcp syn 1",
    "nobody to W tcp syn 443",
    "A to R tcp syn 80",
    "A to nobody tcp syn 80",
    "A to router2 icmp echo 1",
]


@pytest.mark.parametrize("sentence", UNTOUCHED)
def test_native_what_keeps_its_address(native: Lab, sentence: str):
    assert native.send("to_netdev", sentence).says == "untouched"


def test_other_nodes_see_the_pod_where_they_have_routes_to_it(native: Lab, tunnel: Lab):
    assert native.send("to_netdev", "A to node2 tcp syn 22").says == "untouched"
    assert out(tunnel, "A to node2 tcp syn 22").packet[IP].src == NODE


def test_the_answer_to_who_reached_the_pod_by_its_own_address_keeps_that(native: Lab):
    native.send("from_netdev", "W to A tcp syn 80")
    answer = native.send("to_netdev", "A to W tcp synack 40000 from 80")
    assert (answer.packet[IP].src, answer.packet.sport) == (POD, 80)
    assert native.entries("cilium_snat_v4_external") == []


def test_what_cannot_be_masqueraded(lab: Lab):
    lab.send("from_container", "A to W icmp timestamp")
    assert lab.send("to_netdev", "A to W icmp timestamp").says == "drop UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE"


@pytest.mark.parametrize(
    "sentence", ["W to node tcp synack 61500 from 443", "W to node udp 61500", "W to node icmp reply 61500"]
)
def test_an_answer_nobody_waits_for_is_the_nodes(lab: Lab, sentence: str):
    assert lab.send("from_netdev", sentence).says == "untouched"


def test_a_lost_half_is_made_again(lab: Lab):
    first = port(out(lab, "A to W udp 53").packet)
    for key, _ in lab.entries("cilium_snat_v4_external"):
        if key["flags"] == 1:
            lab.maps["cilium_snat_v4_external"].remove(key.tobytes())
    sent = out(lab, "A to W udp 53").packet
    assert lab.send("from_netdev", frame(back(sent))).says == "to-endpoint reply"
    assert first in PORTS


def test_an_answer_to_a_pod_that_is_gone(lab: Lab):
    sent = out(lab, "A to W udp 53").packet
    pod = next(key for key, _ in lab.entries("cilium_lxc") if int(key["ip"]["v4"]) == 0x0A01010B)
    lab.maps["cilium_lxc"].remove(pod.tobytes())
    assert lab.send("from_netdev", frame(back(sent))).says == "drop NO_MATCHING_LOCAL_CONTAINER_FOUND"


def test_fragments_share_the_mapping(lab: Lab):
    first = out(lab, "A to W udp 53 first fragment 9").packet
    later = out(lab, "A to W udp 53 later fragment 9").packet
    assert (first[IP].src, later[IP].src) == (NODE, NODE)
    assert bytes(later[IP].payload) == b"x" * 64


def test_an_error_about_a_masqueraded_packet_finds_the_pod(lab: Lab):
    sent = out(lab, "A to W udp 53").packet
    lab.policy("A ingress enforced")
    error = IP(src=WORLD["W2"], dst=NODE) / ICMP(type=3, code=4, nexthopmtu=1300) / bytes(sent[IP])[:28]
    seen = lab.send("from_netdev", frame(error))
    assert (seen.says, seen.packet[IP].dst, sound(seen.packet)) == ("to-endpoint related", POD, True)
    assert (seen.packet[IPerror].src, seen.packet[UDPerror].sport) == (POD, 40000)
    assert seen.packet[ICMP].nexthopmtu == 1300


def test_a_pods_error_about_an_answer_leaves_as_the_nodes(lab: Lab):
    sent = out(lab, "A to W udp 53").packet
    answer = lab.send("from_netdev", frame(back(sent))).packet
    error = frame(IP(src=POD, dst=OUTSIDE) / ICMP(type=3, code=3) / bytes(answer[IP])[:28])
    assert lab.send("from_container", error, "lxcA").says == "to-stack related"
    seen = lab.send("to_netdev", error).packet
    assert (seen[IP].src, seen[IPerror].dst, seen[UDPerror].dport) == (NODE, NODE, port(sent))
    assert sound(seen)


def test_an_error_about_nothing_leaves_not(lab: Lab):
    error = "A to W icmp unreachable about W to A udp 53"
    assert lab.send("to_netdev", error).says == "drop NO_MAPPING_FOR_NAT_MASQUERADE"
