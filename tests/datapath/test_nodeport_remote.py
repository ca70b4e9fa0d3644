"""A service from outside, its backend on another node: it goes there as this node's, and the answer comes back."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, IPerror, TCPerror, UDPerror
from scapy.packet import Packet

from tests.datapath.lab import Lab, Outcome
from tests.datapath.language import WORLD
from tests.datapath.nodeport import (
    LOADBALANCER,
    MARK_SERVICE,
    MARK_TUNNEL,
    SERVICE,
    answer,
    error_about,
    maps_of,
    no_services,
    serve,
    sound,
    tracked,
    way,
)
from tests.datapath.sandbox import Sandbox

NODE, PORTS = WORLD["node"], range(61000, 62000)
EXHAUSTED = "drop NO_MAPPING_FOR_NAT_MASQUERADE"


@pytest.fixture
def lab(lab: Lab) -> Iterator[Lab]:
    yield from no_services(lab)


@pytest.fixture
def tunnel(tunnel: Lab) -> Iterator[Lab]:
    yield from no_services(tunnel)


@pytest.fixture
def native(native: Lab) -> Iterator[Lab]:
    yield from no_services(native)


def come_back(lab: Lab, seen: Packet, name: str) -> tuple[str, str]:
    """The answer of a backend: by the tunnel, if it went through it."""
    told = by_tunnel(lab, answer(seen)) if name == "R" and lab_is_tunnel(lab) else lab.send("from_netdev", answer(seen))
    assert (told.action, told.mark, sound(told.packet)) == ("redirect", MARK_SERVICE, True)
    return told.says, way(told.packet)


def by_tunnel(lab: Lab, data: bytes) -> Outcome:
    return lab.send("from_overlay", data, "seta_vxlan", identity=2001)


def lab_is_tunnel(lab: Lab) -> bool:
    return lab.name == "tunnel"


@pytest.mark.parametrize("backend", ["R", "node2"])
@pytest.mark.parametrize("kind", ["tcp syn", "udp", "sctp"])
@pytest.mark.parametrize(("front", "port"), [("node", 30080), ("lb", 80)])
def test_there_and_back(lab: Lab, front: str, port: int, kind: str, backend: str):
    serve(lab, f"{front} {kind.split(maxsplit=1)[0]} {port}", f"{backend} 8080", flags=LOADBALANCER)
    seen = lab.send("from_netdev", f"W to {front} {kind} {port}")
    tunneled = lab_is_tunnel(lab) and backend == "R"
    assert seen.says == ("to-overlay new" if tunneled else "to-network new")
    assert (seen.action, seen.mark) == ("redirect", MARK_TUNNEL if tunneled else MARK_SERVICE)
    assert (seen.packet[IP].src, seen.packet.sport in PORTS, sound(seen.packet)) == (NODE, True, True)
    assert way(seen.packet).endswith(f"> {backend}:8080")
    assert come_back(lab, seen.packet, backend) == ("to-network reply", f"{front}:{port} > W:40000")


def test_a_connection_keeps_its_port_and_backend(lab: Lab):
    serve(lab, "node tcp 30080", "R 8080")
    first = lab.send("from_netdev", "W to node tcp syn 30080").packet
    serve(lab, "node tcp 30080", "A 8080")
    second = lab.send("from_netdev", "W to node tcp ack 30080")
    assert (way(second.packet), len(lab.entries("cilium_snat_v4_external"))) == (way(first), 2)


def test_two_frontends_with_one_backend(lab: Lab):
    """One client with one port: either has a port of the node's, and the answers know theirs."""
    serve(lab, "node udp 30053", "R 53")
    serve(lab, "lb udp 53", "R 53", flags=LOADBALANCER, rev_nat=8)
    one = lab.send("from_netdev", "W to node udp 30053").packet
    two = lab.send("from_netdev", "W to lb udp 53").packet
    assert one.sport != two.sport
    assert come_back(lab, one, "R")[1] == "node:30053 > W:40000"
    assert come_back(lab, two, "R")[1] == "lb:53 > W:40000"


def test_a_backend_that_is_gone_is_replaced(lab: Lab):
    (old,) = serve(lab, "node udp 30053", "R 53")
    lab.send("from_netdev", "W to node udp 30053")
    serve(lab, "node udp 30053", "node2 53")
    maps_of(lab).remove("cilium_lb4_backends_v3", old)
    seen = lab.send("from_netdev", "W to node udp 30053")
    assert way(seen.packet).endswith("> node2:53")
    assert come_back(lab, seen.packet, "node2")[1] == "node:30053 > W:40000"


def test_answers_keep_the_connection_alive(lab: Lab):
    serve(lab, "node tcp 30080", "node2 8080")
    seen = lab.send("from_netdev", "W to node tcp syn 30080")
    lab.send("from_netdev", answer(seen.packet))
    (entry,) = tracked(lab, SERVICE)
    assert (int(entry["packets"]), int(entry["rx_flags_seen"])) == (2, 0x12)


def test_fragments_go_together(lab: Lab):
    serve(lab, "lb udp 53", "node2 5353", flags=LOADBALANCER)
    first = lab.send("from_netdev", "W to lb udp 53 first fragment 9").packet
    later = lab.send("from_netdev", "W to lb udp 53 later fragment 9").packet
    assert (later[IP].src, later[IP].dst, bytes(later[IP].payload)) == (NODE, WORLD["node2"], b"x" * 64)
    back = [f"node2 to node udp {first.sport} from 5353 {which} fragment 5" for which in ("first", "later")]
    assert way(lab.send("from_netdev", back[0]).packet) == "lb:53 > W:40000"
    last = lab.send("from_netdev", back[1]).packet
    assert (last[IP].src, last[IP].dst, bytes(last[IP].payload)) == (WORLD["lb"], WORLD["W"], b"x" * 64)


def test_an_error_about_the_forward_packet_reaches_the_client(lab: Lab):
    serve(lab, "lb udp 53", "node2 5353", flags=LOADBALANCER)
    seen = lab.send("from_netdev", "W to lb udp 53").packet
    told = lab.send("from_netdev", error_about(seen, "node3", "node"))
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-network related", "lb > W", True)
    inner = told.packet[IPerror]
    assert (inner.src, inner.dst, inner[UDPerror].sport, inner[UDPerror].dport) == (WORLD["W"], WORLD["lb"], 40000, 53)
    assert told.packet[ICMP].nexthopmtu == 1400


def test_an_error_about_an_answer_reaches_the_backend(lab: Lab):
    serve(lab, "lb tcp 80", "node2 8080", flags=LOADBALANCER)
    seen = lab.send("from_netdev", "W to lb tcp syn 80").packet
    back = lab.send("from_netdev", answer(seen)).packet
    told = lab.send("from_netdev", error_about(back, "W2", "lb"))
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-network related", "node > node2", True)
    inner = told.packet[IPerror]
    assert (inner.src, inner.dst) == (WORLD["node2"], NODE)
    assert (inner[TCPerror].sport, inner[TCPerror].dport) == (8080, seen.sport)


def test_the_backends_node_answers_through_the_tunnel(tunnel: Lab):
    """As the other node sees it: the client came as a node, with the world's identity."""
    tunnel.policy("A ingress allow world tcp 8080")
    assert tunnel.send("from_overlay", "node2 to A tcp syn 8080", identity=2).says == "to-endpoint new"
    back = tunnel.send("from_container", "A to node2 tcp synack 40000 from 8080")
    assert (back.says, back.mark, way(back.packet)) == ("to-overlay reply", MARK_TUNNEL, "A:8080 > node2:40000")
    told = tunnel.send("from_container", "A to node2 icmp unreachable about node2 to A tcp 8080")
    assert told.says == "to-overlay related"


def test_who_came_without_the_tunnel_is_answered_without(tunnel: Lab):
    tunnel.send("from_netdev", "node2 to A tcp syn 8080")
    assert tunnel.send("from_container", "A to node2 tcp synack 40000 from 8080").says == "to-stack reply"


def test_an_answer_by_tunnel_that_nobody_waits_for(tunnel: Lab):
    assert tunnel.send("from_overlay", "R to node tcp synack 61500 from 443", identity=2001).says == "to-host new"


def test_too_long_for_the_tunnel(tunnel: Lab):
    serve(tunnel, "node udp 30053", "R 53")
    assert tunnel.send("from_netdev", "W to node udp 30053 length 1422").says == "to-overlay new"
    long = tunnel.send("from_netdev", "W to node udp 30053 length 1423 whole")
    assert [event["reason"] for event in long.events] == ["IP_FRAGMENTATION_NOT_SUPPORTED"]
    assert (long.action, way(long.packet), sound(long.packet)) == ("redirect", "node > W", True)
    assert (long.packet[ICMP].type, long.packet[ICMP].code, long.packet[ICMP].nexthopmtu) == (3, 4, 1450)
    assert long.packet[UDPerror].dport == 30053
    assert tunnel.send("from_netdev", "W to node udp 30053 length 1423").says == "to-overlay established"


def test_what_only_the_address_tells_is_of_the_world_in_the_tunnel(tunnel: Lab):
    serve(tunnel, "node udp 30053", "R 53")
    seen = tunnel.send("from_netdev", "C to node udp 30053")
    assert (seen.says, int(seen.events[-1]["src_identity"])) == ("to-overlay new", 0x01000001)


@pytest.fixture(scope="module")
def _two_ports(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "service-ports", nat_port_min=61000, nat_port_max=61001)


@pytest.fixture
def two_ports(_two_ports: Lab) -> Iterator[Lab]:
    _two_ports.reset()
    yield from no_services(_two_ports)


def test_port_exhaustion_is_counted_and_ends(two_ports: Lab):
    lab = two_ports
    serve(lab, "node udp 30053", "R 53")
    told = [lab.send("from_netdev", f"W to node udp 30053 from {port}").says for port in (40001, 40002, 40003)]
    assert told == ["to-network new", "to-network new", EXHAUSTED]
    assert lab.count(lab.btf.enum("drop_reason")["DROP_NO_MAPPING_FOR_NAT_MASQUERADE"], 3) == 1
    serve(lab, "lb udp 53", "node2 53", flags=LOADBALANCER, rev_nat=8)
    assert lab.send("from_netdev", "W to lb udp 53 from 40003").says == "to-network new"  # another backend
    lab.expire("cilium_ct_any4_global")
    assert lab.send("from_netdev", "W2 to node udp 30053").says == "to-network new"


def test_the_port_of_a_deleted_service_is_free(two_ports: Lab):
    lab = two_ports
    serve(lab, "node udp 30053", "R 53")
    for port in (40001, 40002):
        lab.send("from_netdev", f"W to node udp 30053 from {port}")
    maps_of(lab).remove("cilium_lb4_reverse_nat", 7)
    serve(lab, "node udp 30054", "R 53", rev_nat=8)
    assert lab.send("from_netdev", "W to node udp 30054").says == "to-network new"


def test_pods_and_clients_share_the_ports(two_ports: Lab):
    lab = two_ports
    serve(lab, "node udp 30053", "W 53")  # a backend that no node has
    for port in (40001, 40002):
        lab.send("from_container", f"A to W udp 53 from {port}")
        lab.send("to_netdev", f"A to W udp 53 from {port}")
    assert lab.send("from_netdev", "W2 to node udp 30053").says == EXHAUSTED


@pytest.fixture(scope="module")
def silent(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "silent", no_backend_drop=1)


def test_drop_instead_of_reject(silent: Lab):
    serve(silent, "node tcp 30080")
    assert silent.send("from_netdev", "W to node tcp syn 30080").says == "drop SERVICE_BACKEND_NOT_FOUND"
