"""A service from outside, its backend on this node: the client's address stays, the answer is the service's."""

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, IPerror, TCPerror, UDPerror

from tests.datapath.lab import POD_MAC, Lab
from tests.datapath.language import WORLD, packet
from tests.datapath.nodeport import (
    AFFINITY,
    CLUSTER,
    EXT_LOCAL,
    LOADBALANCER,
    MAGLEV_SIZE,
    MARK_SERVICE,
    NODEPORT,
    SERVICE,
    SOURCE_RANGE,
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


@pytest.fixture
def lab(lab: Lab) -> Iterator[Lab]:
    yield from no_services(lab)


FRONTS = [("node", 30080, NODEPORT), ("lb", 80, LOADBALANCER), ("lb", 8080, LOADBALANCER)]
KINDS = ["tcp syn", "udp", "sctp"]


@pytest.mark.parametrize(("front", "port", "flags"), FRONTS)
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(lab: Lab, front: str, port: int, flags: int, kind: str):
    serve(lab, f"{front} {kind.split(maxsplit=1)[0]} {port}", "A 8080", flags=flags)
    seen = lab.send("from_netdev", f"W to {front} {kind} {port}")
    assert (ended_at(seen), sound(seen.packet)) == (("to-endpoint new", "W:40000 > A:8080"), True)
    assert (seen.packet.dst, seen.action) == (POD_MAC["A"], "redirect")

    back = lab.send("from_container", answer(seen.packet), "lxcA")
    assert (ended_at(back), sound(back.packet)) == (("to-network reply", f"{front}:{port} > W:40000"), True)
    assert (back.action, back.mark) == ("redirect", MARK_SERVICE)


def test_what_follows_on_a_connection_goes_straight_to_the_next_hop(lab: Lab):
    """Its first answer went by the kernel's neighbour."""
    serve(lab, "node tcp 30080", "A 8080")
    for asks, flags in (("syn", "SA"), ("ack", "A")):
        seen = lab.send("from_netdev", f"W to node tcp {asks} 30080")
        back = lab.send("from_container", answer(seen.packet, flags=flags), "lxcA")
    assert (back.action, back.packet.dst) == ("redirect", "02:00:00:00:00:99")


def test_what_the_datapath_sent_leaves_as_it_is(lab: Lab):
    done = lab.send("to_netdev", "node to W tcp synack 40000 from 30080", mark=MARK_SERVICE)
    assert (done.says, done.mark) == ("untouched", 0)


def test_a_policy_sees_the_client(lab: Lab):
    serve(lab, "node tcp 30080", "A 8080")
    lab.policy("A ingress allow C tcp 8080")
    assert lab.send("from_netdev", "W to node tcp syn 30080").says == "drop POLICY_DENIED"
    seen = lab.send("from_netdev", "C to node tcp syn 30080")
    assert seen.says == "to-endpoint new"
    assert lab.send("from_container", answer(seen.packet), "lxcA").says != "drop POLICY_DENIED"


@pytest.mark.parametrize(
    "sentence",
    [
        "W to node tcp syn 30081",
        "W to node udp 30080",
        "W to lb tcp syn 30080",
        "W to cluster tcp syn 80",
        "W to node icmp echo 1",
        "W to lb icmp echo 1",
        "W to node gre",
    ],
)
def test_what_is_for_no_service_from_outside(lab: Lab, sentence: str):
    serve(lab, "node tcp 30080", "A 8080")
    serve(lab, "lb udp 53", "A 53", flags=LOADBALANCER, rev_nat=8)
    serve(lab, "cluster tcp 80", "A 8080", flags=CLUSTER, rev_nat=9)
    assert lab.send("from_netdev", sentence).says == "untouched"


def test_a_cluster_address_that_is_routable(lab: Lab):
    serve(lab, "cluster tcp 80", "A 8080", flags=0x40)
    assert ended_at(lab.send("from_netdev", "W to cluster tcp syn 80")) == ("to-endpoint new", "W:40000 > A:8080")


def test_a_connection_keeps_its_backend(lab: Lab):
    serve(lab, "node udp 30053", "A 53")
    lab.send("from_netdev", "W to node udp 30053")
    serve(lab, "node udp 30053", "B 53")  # the old one ends: it is in no slot any more
    assert ended_at(lab.send("from_netdev", "W to node udp 30053")) == ("to-endpoint established", "W:40000 > A:53")
    assert way(lab.send("from_netdev", "W to node udp 30053 from 40001").packet) == "W:40001 > B:53"


def test_a_backend_that_is_gone_is_replaced(lab: Lab):
    (old,) = serve(lab, "node udp 30053", "A 53")
    lab.send("from_netdev", "W to node udp 30053")
    serve(lab, "node udp 30053", "B 53")
    maps_of(lab).remove("cilium_lb4_backends_v3", old)
    assert ended_at(lab.send("from_netdev", "W to node udp 30053")) == ("to-endpoint new", "W:40000 > B:53")


def test_a_closed_connection_begins_anew(lab: Lab):
    serve(lab, "node tcp 30080", "A 8080")
    seen = lab.send("from_netdev", "W to node tcp syn 30080")
    lab.send("from_container", answer(seen.packet), "lxcA")
    lab.send("from_netdev", "W to node tcp fin 30080")
    lab.send("from_container", answer(seen.packet, flags="FA"), "lxcA")
    (entry,) = tracked(lab, SERVICE)
    assert (int(entry["flags"]) & 3, int(entry["packets"])) == (3, 4)
    serve(lab, "node tcp 30080", "B 8080")
    assert way(lab.send("from_netdev", "W to node tcp syn 30080").packet) == "W:40000 > B:8080"


def test_the_last_frontend_is_the_one_that_answers(lab: Lab):
    """One client, one port, one backend, two frontends."""
    serve(lab, "node udp 30053", "A 53")
    serve(lab, "lb udp 53", "A 53", flags=LOADBALANCER, rev_nat=8)
    for front, port in (("node", 30053), ("lb", 53), ("node", 30053)):
        seen = lab.send("from_netdev", f"W to {front} udp {port}")
        back = lab.send("from_container", answer(seen.packet), "lxcA")
        assert way(back.packet) == f"{front}:{port} > W:40000"


def test_source_ranges(lab: Lab):
    serve(lab, "lb tcp 80", "A 8080", flags=LOADBALANCER | SOURCE_RANGE)
    key = {"prefixlen": 32 + 24, "rev_nat_id": 7, "addr": 0xC6336400}
    maps_of(lab).put("cilium_lb4_source_range", key, 1)
    assert lab.send("from_netdev", "W to lb tcp syn 80").says == "drop LB_SENDER_NOT_IN_SOURCE_RANGES"
    assert lab.send("from_netdev", "C to lb tcp syn 80").says == "to-endpoint new"


@pytest.mark.parametrize("kind", ["tcp syn", "udp", "sctp"])
def test_without_a_backend_the_client_is_told(lab: Lab, kind: str):
    serve(lab, f"node {kind.split(maxsplit=1)[0]} 30080")
    told = lab.send("from_netdev", f"W to node {kind} 30080")
    assert [event["reason"] for event in told.events] == ["SERVICE_BACKEND_NOT_FOUND"]
    assert (told.action, told.mark, way(told.packet), sound(told.packet)) == (
        "redirect",
        MARK_SERVICE,
        "node > W",
        True,
    )
    assert (told.packet[ICMP].type, told.packet[ICMP].code) == (3, 3)
    sent = packet(f"W to node {kind} 30080")
    assert (told.packet.dst, told.packet.src) == (sent.src, sent.dst)
    assert bytes(sent[IP])[:28] == bytes(told.packet[ICMP].payload)[:28]


def test_nobody_is_told_about_a_later_fragment(lab: Lab):
    serve(lab, "node udp 30053")
    lab.send("from_netdev", "W to node udp 30053 first fragment 9")
    assert lab.send("from_netdev", "W to node udp 30053 later fragment 9").action == "drop"


def test_a_local_service_with_backends_elsewhere_is_silent(lab: Lab):
    serve(lab, "lb tcp 80", flags=LOADBALANCER | EXT_LOCAL | TWO_SCOPES)
    serve(lab, "lb tcp 80", "R 8080", flags=LOADBALANCER | EXT_LOCAL | TWO_SCOPES, scope=1)
    assert lab.send("from_netdev", "W to lb tcp syn 80").says == "drop SERVICE_BACKEND_NOT_FOUND"
    serve(lab, "lb tcp 80", flags=LOADBALANCER | EXT_LOCAL | TWO_SCOPES, scope=1)
    assert lab.send("from_netdev", "W to lb tcp syn 80").action == "redirect"


def test_fragments_go_together(lab: Lab):
    serve(lab, "lb udp 53", "A 5353", flags=LOADBALANCER)
    assert way(lab.send("from_netdev", "W to lb udp 53 first fragment 9").packet) == "W:40000 > A:5353"
    later = lab.send("from_netdev", "W to lb udp 53 later fragment 9")
    assert (later.says, later.packet[IP].dst) == ("to-endpoint established", WORLD["A"])
    assert lab.send("from_netdev", "W to lb udp 53 later fragment 10").says == "untouched"

    lab.send("from_container", "A to W udp 40000 from 5353 first fragment 7")
    back = lab.send("from_container", "A to W udp 40000 from 5353 later fragment 7").packet
    assert (back[IP].src, bytes(back[IP].payload)) == (WORLD["lb"], b"x" * 64)


def test_an_error_about_an_answer_reaches_the_backend(lab: Lab):
    serve(lab, "lb tcp 80", "A 8080", flags=LOADBALANCER)
    seen = lab.send("from_netdev", "W to lb tcp syn 80")
    back = lab.send("from_container", answer(seen.packet), "lxcA").packet
    lab.policy("A ingress enforced")
    told = lab.send("from_netdev", error_about(back, "W2", "lb"))
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-endpoint related", "W2 > A", True)
    assert (told.packet[IPerror].src, told.packet[TCPerror].sport) == (WORLD["A"], 8080)
    assert told.packet[ICMP].nexthopmtu == 1400


def test_an_error_of_the_backend_comes_from_the_service(lab: Lab):
    serve(lab, "lb udp 53", "A 5353", flags=LOADBALANCER)
    seen = lab.send("from_netdev", "W to lb udp 53")
    told = lab.send("from_container", error_about(seen.packet, "A", "W"), "lxcA")
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-network related", "lb > W", True)
    assert (told.packet[IPerror].dst, told.packet[UDPerror].dport) == (WORLD["lb"], 53)


def test_an_error_about_nothing_is_left_alone(lab: Lab):
    serve(lab, "lb udp 53", "A 5353", flags=LOADBALANCER)
    assert lab.send("from_netdev", "W to lb icmp unreachable about lb to W udp 40000 from 53").says == "untouched"


def test_sctp_where_the_port_stays(lab: Lab):
    serve(lab, "lb sctp 9", "A 9", flags=LOADBALANCER)
    seen = lab.send("from_netdev", "W to lb sctp 9")
    assert ended_at(seen) == ("to-endpoint new", "W:40000 > A:9")
    assert bytes(seen.packet[IP].payload) == bytes(packet("W to lb sctp 9")[IP].payload)
    assert way(lab.send("from_container", answer(seen.packet), "lxcA").packet) == "lb:9 > W:40000"


def test_a_backend_in_the_nodes_own_namespace(lab: Lab):
    serve(lab, "lb tcp 80", "node 8080", flags=LOADBALANCER)
    seen = lab.send("from_netdev", "W to lb tcp syn 80")
    assert (ended_at(seen), seen.action) == (("to-host new", "W:40000 > node:8080"), "ok")
    back = lab.send("to_netdev", answer(seen.packet))
    assert (ended_at(back), sound(back.packet), back.action) == (("to-network reply", "lb:80 > W:40000"), True, "ok")
    told = lab.send("to_netdev", error_about(seen.packet, "node", "W"))
    assert (way(told.packet), told.packet[IPerror].dst, sound(told.packet)) == ("lb > W", WORLD["lb"], True)
    assert lab.send("to_netdev", "node to W tcp synack 40001 from 8080").says == "untouched"


@pytest.mark.parametrize("kind", ["tcp syn", "udp"])
def test_who_asks_the_node_itself_is_answered_by_it(lab: Lab, kind: str):
    """From the port from which it asked the service before."""
    protocol = kind.split(maxsplit=1)[0]
    serve(lab, f"lb {protocol} 80", "node 8080", flags=LOADBALANCER)
    seen = lab.send("from_netdev", f"W to lb {kind} 80")
    assert way(lab.send("to_netdev", answer(seen.packet)).packet) == "lb:80 > W:40000"
    direct = lab.send("from_netdev", f"W to node {kind} 8080")
    assert direct.says == "untouched"
    assert lab.send("to_netdev", answer(direct.packet)).says == "untouched"


def test_an_answer_too_long_for_its_device_says_so(lab: Lab):
    serve(lab, "lb udp 53", "A 5353", flags=LOADBALANCER)
    lab.send("from_netdev", "W to lb udp 53")
    long = lab.send("from_container", "A to W udp 40000 from 5353 length 1600")
    assert long.says == "drop IP_FRAGMENTATION_NOT_SUPPORTED"


def test_nobody_outside_is_the_node(lab: Lab):
    serve(lab, "node tcp 30080", "A 8080")
    assert lab.send("from_netdev", "node to node tcp syn 30080").says == "drop INVALID_SOURCE_IP"


@pytest.mark.parametrize("length", [34, 38, 45])
def test_a_packet_that_is_cut_off(lab: Lab, length: int):
    serve(lab, "node tcp 30080", "A 8080")
    cut = bytearray(bytes(packet("W to node tcp syn 30080"))[:length])
    cut[16:18] = (length - 14).to_bytes(2, "big")
    assert lab.send("from_netdev", bytes(cut)).says == "untouched"


def test_a_service_that_is_deleted_answers_nobody(lab: Lab):
    serve(lab, "node udp 30053", "A 53")
    seen = lab.send("from_netdev", "W to node udp 30053")
    maps_of(lab).remove("cilium_lb4_reverse_nat", 7)
    back = lab.send("from_container", frame(IP(answer(seen.packet)[14:])), "lxcA")
    assert back.says == "drop NO_MAPPING_FOR_NAT_MASQUERADE"


def test_a_client_keeps_its_backend_where_the_service_says_so(lab: Lab):
    """Known by its address: by whatever port it comes."""
    there = [(WORLD[name], 8080) for name in ("A", "B")]
    maps_of(lab).service(WORLD["lb"], 80, "tcp", there, flags=LOADBALANCER | AFFINITY, affinity=600)
    ways = {lab.send("from_netdev", f"W to lb tcp syn 80 from {port}").packet[IP].dst for port in range(41000, 41020)}
    assert len(ways) == 1


def test_a_client_does_not_keep_a_backend_that_only_others_may_have_now(lab: Lab):
    """The traffic policy became Local: what it had is still the service's, but not for who comes from outside."""
    lb, away, here = maps_of(lab), (WORLD["B"], 8080), (WORLD["A"], 8080)
    before = lb.service(WORLD["lb"], 80, "tcp", [away], flags=LOADBALANCER | AFFINITY, affinity=600)
    assert lab.send("from_netdev", "W to lb tcp syn 80 from 41000").packet[IP].dst == WORLD["B"]
    local = LOADBALANCER | AFFINITY | EXT_LOCAL | TWO_SCOPES
    lb.service(WORLD["lb"], 80, "tcp", [away, here], flags=local, affinity=600, scope=1)
    lb.service(WORLD["lb"], 80, "tcp", [here], flags=local, affinity=600)
    lb.match(before[0], 7, present=False)
    assert lab.send("from_netdev", "W to lb tcp syn 80 from 41001").packet[IP].dst == WORLD["A"]


def test_new_connections_are_spread(lab: Lab):
    serve(lab, "lb tcp 80", "A 8080", "B 8080", flags=LOADBALANCER)
    ways = {lab.send("from_netdev", f"W to lb tcp syn 80 from {port}").packet[IP].dst for port in range(41000, 41020)}
    assert ways == {WORLD["A"], WORLD["B"]}


def test_every_node_finds_the_same_backend_by_the_table(lab: Lab):
    there = [(WORLD[name], 8080) for name in ("A", "B")]
    numbers = maps_of(lab).service(WORLD["lb"], 80, "tcp", there, flags=LOADBALANCER, maglev=True)
    maps_of(lab).table(7, [numbers[1]] * MAGLEV_SIZE)
    ways = {lab.send("from_netdev", f"W to lb tcp syn 80 from {port}").packet[IP].dst for port in range(41000, 41020)}
    assert ways == {WORLD["B"]}
