"""What the node's stack sends to a pod."""

import pytest

from tests.datapath.lab import IDENTITY, Lab


@pytest.mark.parametrize(
    ("sentence", "identity"),
    [
        ("node to A tcp syn 8080", 1),
        ("router to A tcp syn 8080", 1),
        ("W to A tcp syn 8080", 2),
        ("node2 to A tcp syn 8080", 6),
        ("R to A tcp syn 8080", IDENTITY["R"]),
        ("B to A tcp syn 8080", IDENTITY["B"]),
    ],
)
def test_who_the_pod_hears(lab: Lab, sentence: str, identity: int):
    outcome = lab.send("to_container", sentence)
    assert (outcome.says, outcome.action) == ("to-endpoint new", "ok")
    assert outcome.events[-1]["src_identity"] == identity


def test_the_node_reaches_its_pods_whatever_their_policy(lab: Lab):
    lab.policy("A ingress enforced")
    assert lab.send("to_container", "node to A tcp syn 8080").says == "to-endpoint new"
    assert lab.send("to_container", "W to A tcp syn 8080").says == "drop POLICY_DENIED"
    assert lab.send("to_container", "node2 to A tcp syn 8080").says == "drop POLICY_DENIED"


def test_the_answer_to_the_node_needs_no_policy(lab: Lab):
    lab.policy("A egress enforced")
    lab.send("to_container", "node to A tcp syn 8080")
    assert lab.send("from_container", "A to node tcp synack 40000 from 8080").says == "to-host reply"
    assert lab.send("from_container", "A to node tcp syn 40001 from 8080").says == "drop POLICY_DENIED"


@pytest.mark.parametrize("sentence", ["node to B tcp syn 80", "node to nobody tcp syn 80", "node to node tcp syn 80"])
def test_another_ones_packet_in_the_pods_device(lab: Lab, sentence: str):
    assert lab.send("to_container", sentence, "lxcA").says == "drop NO_MATCHING_LOCAL_CONTAINER_FOUND"
