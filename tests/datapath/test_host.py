"""Policies for the node itself: what they judge, what they leave alone, and that they are absent where switched off."""

import pytest

from tests.datapath.datapath import HOST_ENDPOINT
from tests.datapath.lab import IDENTITY, Lab

DENIED, DENY = "drop POLICY_DENIED", "drop POLICY_DENY"
IN, OUT = "to-host new", "to-network new"

# what the node's ingress policy says, what arrives from the network, what becomes of it
INGRESS = [
    (["enforced"], "W to node tcp syn 22", DENIED),
    (["allow world tcp 22"], "W to node tcp syn 22", IN),
    (["allow world tcp 22"], "W to node tcp syn 23", DENIED),
    (["allow world tcp 22"], "W to node udp 22", DENIED),
    (["allow world tcp 22"], "node2 to node tcp syn 22", DENIED),
    (["allow remote-node"], "node2 to node tcp syn 22", IN),
    (["allow node3"], "node3 to node tcp syn 22", IN),
    (["allow node3"], "node2 to node tcp syn 22", DENIED),
    (["allow kube-apiserver tcp 10250"], "node4 to node tcp syn 10250", IN),
    (["allow C tcp 22"], "C to node tcp syn 22", IN),
    (["allow any", "deny world tcp 22"], "W to node tcp syn 22", DENY),
    (["allow any", "deny world tcp 22"], "W to node tcp syn 80", IN),
    (["allow world icmp type 8"], "W to node icmp echo 1", IN),
    (["allow world icmp type 8"], "W to node icmp timestamp", DENIED),
    (["allow world sctp 9"], "W to node sctp 9", IN),
    (["allow world gre"], "W to node gre", IN),
    (["enforced"], "W to node gre", DENIED),
    (["allow host"], "node to node tcp syn 22", "drop INVALID_SOURCE_IP"),
    # what is not the node's own
    (["enforced"], "W to W2 tcp syn 22", "untouched"),
    (["enforced"], "W to broadcast udp 68 from 67", "untouched"),
]


@pytest.mark.parametrize(("rules", "sentence", "says"), INGRESS)
def test_from_the_network(guarded: Lab, rules: list[str], sentence: str, says: str):
    for rule in rules:
        guarded.policy(f"node ingress {rule}")
    outcome = guarded.send("from_netdev", sentence)
    assert outcome.says == says
    if says in {IN, DENIED, DENY}:
        verdict = outcome.events[0]
        assert (verdict["type"], verdict["endpoint_id"]) == ("policy-verdict", HOST_ENDPOINT)


EGRESS = [
    (["enforced"], "node to W tcp syn 443", DENIED),
    (["allow world tcp 443"], "node to W tcp syn 443", OUT),
    (["allow world tcp 443"], "node to node2 tcp syn 443", DENIED),
    (["allow remote-node tcp 4240"], "node to node2 tcp syn 4240", OUT),
    (["allow kube-apiserver tcp 6443"], "node to node4 tcp syn 6443", OUT),
    (["allow kube-apiserver tcp 6443"], "node to node4 tcp syn 22", DENIED),
    (["allow C"], "node to C udp 53", OUT),
    (["allow any", "deny C"], "node to C udp 53", DENY),
    (["allow any udp 67"], "node to broadcast udp 67 from 68", OUT),
    (["enforced"], "W to W2 tcp syn 22", "untouched"),
]


@pytest.mark.parametrize(("rules", "sentence", "says"), EGRESS)
def test_to_the_network(guarded: Lab, rules: list[str], sentence: str, says: str):
    for rule in rules:
        guarded.policy(f"node egress {rule}")
    assert guarded.send("to_netdev", sentence).says == says


@pytest.mark.parametrize(("rule", "says"), [("enforced", DENIED), ("allow A tcp 22", IN), ("allow B tcp 22", DENIED)])
def test_from_a_pod_of_the_node(guarded: Lab, rule: str, says: str):
    guarded.policy(f"node ingress {rule}")
    for own in ("node", "router"):
        assert guarded.send("from_container", f"A to {own} tcp syn 22").says == says


@pytest.mark.parametrize(("rule", "says"), [("enforced", DENIED), ("allow R tcp 22", IN)])
def test_from_a_pod_elsewhere(guarded_tunnel: Lab, rule: str, says: str):
    guarded_tunnel.policy(f"node ingress {rule}")
    assert guarded_tunnel.send("from_overlay", "R to router tcp syn 22", identity=IDENTITY["R"]).says == says


@pytest.mark.parametrize(("rule", "says"), [("enforced", DENIED), ("allow R tcp 80", "to-overlay new")])
def test_to_a_pod_elsewhere(guarded_tunnel: Lab, rule: str, says: str):
    guarded_tunnel.policy(f"node egress {rule}")
    assert guarded_tunnel.send("to_overlay", "router to R tcp syn 80").says == says
    assert guarded_tunnel.send("to_overlay", "A to R tcp syn 80").says == "to-overlay new"  # the pod's own


def test_the_node_always_reaches_its_pods(guarded: Lab):
    for direction in ("ingress", "egress"):
        guarded.policy(f"node {direction} enforced")
        guarded.policy(f"node {direction} deny any precedence 9")
    guarded.policy("A ingress enforced")
    assert guarded.send("to_container", "node to A udp 8080").says == "to-endpoint new"
    assert guarded.send("from_container", "A to node udp 40000 from 8080").says == "to-host reply"
    assert guarded.send("to_container", "router to A tcp syn 8080").says == "to-endpoint new"
    assert guarded.send("from_container", "A to router tcp synack 40000 from 8080").says == "to-host reply"
    assert guarded.send("from_container", "A to node udp 40000 from 8081").says == DENY


# program, packet, where it goes, with everything refused in both directions
ALWAYS = [
    ("from_netdev", "W to node tcp ack 22", "to-host established"),
    ("from_netdev", "W to node tcp synack 40000 from 443", "to-host established"),
    ("from_netdev", "W to node tcp rst 22", "to-host established"),
    ("to_netdev", "node to W tcp synack 40000 from 22", "to-network established"),
    ("to_netdev", "node to W tcp fin 443", "to-network established"),
    ("from_netdev", "W to node icmp unreachable about node to W udp 53", "to-host related"),
    ("from_netdev", "node2 to node icmp fragmentation-needed about node to C tcp 443", "to-host related"),
    ("to_netdev", "node to W icmp unreachable about W to node udp 9", "to-network related"),
]


@pytest.mark.parametrize(("program", "sentence", "says"), ALWAYS)
def test_running_connections_and_errors_always_pass(guarded: Lab, program: str, sentence: str, says: str):
    for direction in ("ingress", "egress"):
        guarded.policy(f"node {direction} enforced")
    assert guarded.send(program, sentence).says == says
    assert guarded.entries("cilium_ct4_global") == []  # TCP needs no table


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("node to W udp 53", "W to node udp 40000 from 53"),
        ("node to W icmp echo 7", "W to node icmp reply 7"),
        ("node to W sctp 9", "W to node sctp 40000 from 9"),
    ],
)
def test_answers_to_the_node_pass(guarded: Lab, asked: str, answered: str):
    guarded.policy("node ingress enforced")
    assert guarded.send("from_netdev", answered).says == DENIED
    assert guarded.send("to_netdev", asked).says == OUT
    assert guarded.send("from_netdev", answered).says == "to-host reply"


def test_answers_of_the_node_pass(guarded: Lab):
    guarded.policy("node egress enforced")
    assert guarded.send("to_netdev", "node to W udp 40000 from 53").says == DENIED
    assert guarded.send("from_netdev", "W to node udp 53").says == IN
    assert guarded.send("to_netdev", "node to W udp 40000 from 53").says == "to-network reply"


def test_the_tunnel_is_judged_and_never_tracked(guarded_tunnel: Lab):
    for direction in ("ingress", "egress"):
        guarded_tunnel.policy(f"node {direction} enforced")
    assert guarded_tunnel.send("from_netdev", "node2 to node udp 8472").says == DENIED
    for direction in ("ingress", "egress"):
        guarded_tunnel.policy(f"node {direction} allow remote-node udp 8472")
    assert guarded_tunnel.send("from_netdev", "node2 to node udp 8472").says == "to-host established"
    assert guarded_tunnel.send("to_netdev", "node to node2 udp 8472").says == "to-network established"
    assert guarded_tunnel.send("from_netdev", "W to node udp 8472").says == DENIED
    assert guarded_tunnel.entries("cilium_ct_any4_global") == []


def test_audit_refuses_nothing(guarded: Lab):
    guarded.policy("node ingress enforced")
    guarded.audit("node")
    outcome = guarded.send("from_netdev", "W to node tcp syn 22")
    assert (outcome.says, outcome.events[0]["verdict"], outcome.events[0]["reason"]) == (IN, "audit", "POLICY_DENIED")


def test_entries_count(guarded: Lab):
    guarded.policy("node ingress allow world tcp 22")
    for _ in range(3):
        guarded.send("from_netdev", "W to node tcp syn 22")
    _, values = guarded.policies[HOST_ENDPOINT].dump()
    assert [(int(value["packets"]), int(value["bytes"])) for value in values] == [(3, 162)]


FRAGMENTS = [
    (["W to node udp 53 first fragment 7", "W to node udp later fragment 7"], "to-host established"),
    (["W to node udp later fragment 7"], "drop FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND"),
]


@pytest.mark.parametrize(("sentences", "says"), FRAGMENTS)
def test_fragments(guarded: Lab, sentences: list[str], says: str):
    guarded.policy("node ingress allow world udp 53")
    assert [guarded.send("from_netdev", sentence).says for sentence in sentences][-1] == says


def test_without_a_policy_for_it_the_node_is_left_alone(guarded: Lab):
    """The agent gives the node its endpoint id when the policy map is filled: a start locks nobody out."""
    for program, sentence in (("from_netdev", "W to node tcp syn 22"), ("to_netdev", "node to W tcp syn 443")):
        assert guarded.send(program, sentence).says == "untouched"


def test_masquerade_goes_on_beside_it(guarded: Lab):
    for direction in ("ingress", "egress"):
        guarded.policy(f"node {direction} enforced")
    assert guarded.send("from_container", "A to W udp 53").says == "to-stack new"
    sent = guarded.send("to_netdev", "A to W udp 53")
    assert (sent.action, sent.packet["IP"].src) == ("ok", "192.168.50.1")
    answer = f"W to node udp {sent.packet['UDP'].sport} from 53"
    assert guarded.send("from_netdev", answer).says == "to-endpoint reply"


@pytest.mark.parametrize(
    ("program", "sentence"), [("from_netdev", "W to node tcp syn 22"), ("to_netdev", "node to W tcp syn 443")]
)
def test_switched_off_it_is_not_there(lab: Lab, program: str, sentence: str):
    for direction in ("ingress", "egress"):
        lab.policy(f"node {direction} enforced")
    assert lab.send(program, sentence).says == "untouched"
