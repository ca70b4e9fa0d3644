"""Services packet by packet, for pods whose sockets are left alone: the backend is judged, the pod sees the service."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, IPerror, TCPerror, UDPerror

from tests.datapath.lab import POD_MAC, Lab
from tests.datapath.language import WORLD, packet
from tests.datapath.nodeport import (
    CLUSTER,
    EXT_LOCAL,
    LOADBALANCER,
    NODEPORT,
    SERVICE,
    TWO_SCOPES,
    answer,
    ended_at,
    error_about,
    frame,
    maps_of,
    no_services,
    serve,
    sound,
    tracked,
    way,
)

PACKET_LB = 0x80


@pytest.fixture
def lab(lab: Lab) -> Iterator[Lab]:
    for pod in ("A", "B"):
        lab.flags[pod] |= PACKET_LB
        lab.policy(f"{pod} ingress allow any")
    yield from no_services(lab)


@pytest.fixture
def native(native: Lab) -> Iterator[Lab]:
    native.flags["A"] |= PACKET_LB
    native.policy("A ingress allow any")
    yield from no_services(native)


@pytest.mark.parametrize("kind", ["tcp syn", "udp", "sctp"])
def test_to_a_pod_of_this_node_and_back(lab: Lab, kind: str):
    serve(lab, f"cluster {kind.split(maxsplit=1)[0]} 80", "B 8080", flags=CLUSTER)
    seen = lab.send("from_container", f"A to cluster {kind} 80")
    assert (ended_at(seen), sound(seen.packet)) == (("to-endpoint new", "A:40000 > B:8080"), True)
    back = lab.send("from_container", answer(seen.packet), "lxcB")
    assert (ended_at(back), sound(back.packet)) == (("to-endpoint reply", "cluster:80 > A:40000"), True)
    assert back.packet.dst == POD_MAC["A"]


def test_to_another_node_and_back(lab: Lab):
    serve(lab, "cluster tcp 80", "R 8080", flags=CLUSTER)
    seen = lab.send("from_container", "A to cluster tcp syn 80")
    assert way(seen.packet) == "A:40000 > R:8080"
    assert seen.says == ("to-overlay new" if lab.name == "tunnel" else "to-network new")
    if lab.name == "tunnel":
        back = lab.send("from_overlay", answer(seen.packet), "seta_vxlan", identity=2001)
    else:
        back = lab.send("from_netdev", answer(seen.packet))
    assert ended_at(back) == ("to-endpoint reply", "cluster:80 > A:40000")


def test_to_the_node_itself_and_back(lab: Lab):
    serve(lab, "cluster tcp 443", "node 6443", flags=CLUSTER)
    seen = lab.send("from_container", "A to cluster tcp syn 443")
    assert ended_at(seen) == ("to-host new", "A:40000 > node:6443")
    back = lab.send("to_container", answer(seen.packet), "lxcA")
    assert (ended_at(back), sound(back.packet)) == (("to-endpoint reply", "cluster:443 > A:40000"), True)


def test_a_client_that_is_its_own_backend_is_remembered_while_it_is_answered(lab: Lab):
    serve(lab, "cluster tcp 80", "A 8080", flags=CLUSTER)
    seen = lab.send("from_container", "A to cluster tcp syn 80")
    assert way(lab.send("from_container", answer(seen.packet), "lxcA").packet) == "cluster:80 > A:40000"
    (entry,) = tracked(lab, SERVICE)
    assert (int(entry["packets"]), int(entry["rx_flags_seen"])) == (2, 0x12)


def test_a_pod_without_the_flag_is_left_alone(lab: Lab):
    lab.flags["B"] &= ~PACKET_LB
    lab.policy("B ingress allow any")
    serve(lab, "cluster tcp 80", "A 8080", flags=CLUSTER)
    assert ended_at(lab.send("from_container", "B to cluster tcp syn 80")) == ("to-stack new", "B:40000 > cluster:80")
    serve(lab, "cluster sctp 9", "A 10", flags=CLUSTER, rev_nat=8)
    assert way(lab.send("from_container", "B to cluster sctp 9").packet) == "B:40000 > A:10"


def test_the_policy_sees_the_backend(lab: Lab):
    serve(lab, "cluster tcp 80", "B 8080", flags=CLUSTER)
    lab.policy("A egress allow B tcp 8080")
    lab.policy("B ingress allow A tcp 8080")
    assert lab.send("from_container", "A to cluster tcp syn 80").says == "to-endpoint new"
    lab.forbid()
    assert lab.send("from_container", "A to cluster tcp syn 80 from 40001").says == "drop POLICY_DENIED"


@pytest.mark.parametrize(("front", "flags"), [("node", NODEPORT), ("lb", LOADBALANCER)])
def test_external_addresses_lead_inside_to_all_backends(lab: Lab, front: str, flags: int):
    serve(lab, f"{front} tcp 30080", flags=flags | EXT_LOCAL | TWO_SCOPES)
    serve(lab, f"{front} tcp 30080", "R 8080", flags=flags | EXT_LOCAL | TWO_SCOPES, scope=1)
    assert way(lab.send("from_container", f"A to {front} tcp syn 30080").packet) == "A:40000 > R:8080"


@pytest.mark.parametrize("node", ["node2", "node3", "node4"])
def test_another_nodes_port_is_served_here(lab: Lab, node: str):
    serve(lab, "any tcp 30080", "B 8080")
    seen = lab.send("from_container", f"A to {node} tcp syn 30080")
    assert way(seen.packet) == "A:40000 > B:8080"
    back = lab.send("from_container", answer(seen.packet), "lxcB")
    assert (ended_at(back), sound(back.packet)) == (("to-endpoint reply", f"{node}:30080 > A:40000"), True)
    serve(lab, "cluster tcp 80", "B 8080", flags=CLUSTER, rev_nat=8)  # the same ports, by another frontend
    seen = lab.send("from_container", "A to cluster tcp syn 80")
    assert way(lab.send("from_container", answer(seen.packet), "lxcB").packet) == "cluster:80 > A:40000"


def test_a_node_port_of_who_is_no_node(lab: Lab):
    serve(lab, "any tcp 30080", "B 8080")
    assert way(lab.send("from_container", "A to W tcp syn 30080").packet) == "A:40000 > W:30080"
    assert way(lab.send("from_container", "A to node2 tcp syn 22").packet) == "A:40000 > node2:22"


@pytest.mark.parametrize("kind", ["tcp syn", "udp", "sctp"])
def test_a_pod_reaches_itself(lab: Lab, kind: str):
    serve(lab, f"cluster {kind.split(maxsplit=1)[0]} 80", "A 8080", flags=CLUSTER)
    for direction in ("ingress", "egress"):
        lab.policy(f"A {direction} enforced")
    lab.forbid()
    seen = lab.send("from_container", f"A to cluster {kind} 80")
    assert (ended_at(seen), sound(seen.packet)) == (("to-endpoint new", "itself:40000 > A:8080"), True)
    assert (seen.packet.dst, seen.action) == (POD_MAC["A"], "redirect")
    back = lab.send("from_container", answer(seen.packet), "lxcA")
    assert (ended_at(back), sound(back.packet)) == (("to-endpoint reply", "cluster:80 > A:40000"), True)
    again = lab.send("from_container", f"A to cluster {kind.replace('syn', 'ack')} 80")
    assert ended_at(again) == ("to-endpoint established", "itself:40000 > A:8080")


def test_a_pod_reaches_itself_by_another_nodes_port(lab: Lab):
    serve(lab, "any tcp 30080", "A 8080")
    seen = lab.send("from_container", "A to node2 tcp syn 30080")
    assert way(seen.packet) == "itself:40000 > A:8080"
    assert way(lab.send("from_container", answer(seen.packet), "lxcA").packet) == "node2:30080 > A:40000"


def test_an_error_of_a_pod_to_itself(lab: Lab):
    serve(lab, "cluster udp 80", "A 8080", flags=CLUSTER)
    seen = lab.send("from_container", "A to cluster udp 80").packet
    told = lab.send("from_container", error_about(seen, "A", "itself"), "lxcA").packet
    assert (way(told), sound(told)) == ("cluster > A", True)
    inner = told[IPerror]
    assert (inner.src, inner.dst, inner[UDPerror].sport, inner[UDPerror].dport) == (
        WORLD["A"],
        WORLD["cluster"],
        40000,
        80,
    )


@pytest.mark.parametrize("kind", ["tcp syn", "udp", "sctp"])
def test_without_a_backend_the_pod_is_told(lab: Lab, kind: str):
    serve(lab, f"cluster {kind.split(maxsplit=1)[0]} 80", flags=CLUSTER)
    lab.policy("A ingress enforced")
    told = lab.send("from_container", f"A to cluster {kind} 80")
    assert (told.action, way(told.packet), sound(told.packet)) == ("redirect", "cluster > A", True)
    assert (told.packet[ICMP].type, told.packet[ICMP].code) == (3, 3)
    assert bytes(told.packet[ICMP].payload)[:28] == bytes(packet(f"A to cluster {kind} 80")[IP])[:28]


def test_errors_about_its_packets_come_from_the_service(native: Lab):
    serve(native, "cluster tcp 80", "R 8080", flags=CLUSTER)
    seen = native.send("from_container", "A to cluster tcp syn 80").packet
    told = native.send("from_netdev", error_about(seen, "node2", "A"))
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-endpoint related", "cluster > A", True)
    assert (told.packet[IPerror].dst, told.packet[TCPerror].dport) == (WORLD["cluster"], 80)


def test_its_errors_about_answers_reach_the_backend(lab: Lab):
    serve(lab, "cluster udp 80", "B 8080", flags=CLUSTER)
    seen = lab.send("from_container", "A to cluster udp 80").packet
    back = lab.send("from_container", answer(seen), "lxcB").packet
    told = lab.send("from_container", error_about(back, "A", "cluster"), "lxcA")
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-endpoint related", "A > B", True)
    assert (told.packet[IPerror].src, told.packet[UDPerror].sport) == (WORLD["B"], 8080)


def test_fragments_go_together(lab: Lab):
    serve(lab, "cluster udp 53", "B 5353", flags=CLUSTER)
    assert way(lab.send("from_container", "A to cluster udp 53 first fragment 9").packet) == "A:40000 > B:5353"
    later = lab.send("from_container", "A to cluster udp 53 later fragment 9").packet
    assert (later[IP].dst, bytes(later[IP].payload)) == (WORLD["B"], b"x" * 64)


def test_a_connection_keeps_its_backend(lab: Lab):
    serve(lab, "cluster tcp 80", "B 8080", flags=CLUSTER)
    lab.send("from_container", "A to cluster tcp syn 80")
    (new,) = serve(lab, "cluster tcp 80", "R 8080", flags=CLUSTER)
    assert ended_at(lab.send("from_container", "A to cluster tcp ack 80")) == (
        "to-endpoint established",
        "A:40000 > B:8080",
    )
    assert new


def test_a_tcp_connection_whose_backend_is_gone_is_ended_by_the_next_one(lab: Lab):
    """The next backend does not know it, and its reset comes in the service's name."""
    (old,) = serve(lab, "cluster tcp 80", "R 8080", flags=CLUSTER)
    lab.send("from_container", "A to cluster tcp syn 80")
    serve(lab, "cluster tcp 80", "B 8080", flags=CLUSTER)
    maps_of(lab).remove("cilium_lb4_backends_v3", old)
    seen = lab.send("from_container", "A to cluster tcp ack 80")
    assert way(seen.packet) == "A:40000 > B:8080"
    assert way(lab.send("from_container", answer(seen.packet, flags="R"), "lxcB").packet) == "cluster:80 > A:40000"


def test_an_answer_to_the_address_of_nobody_opens_nothing(lab: Lab):
    sent = lab.send("from_container", frame(IP(src=WORLD["A"], dst=WORLD["itself"]) / ICMP()), "lxcA")
    assert sent.says == "to-stack new"
