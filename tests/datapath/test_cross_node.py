"""Between nodes: by VXLAN with the identity in the VNI, or by the node's routes."""

import pytest

from tests.datapath.lab import IDENTITY, LXC_MAC, POD_MAC, Lab
from tests.datapath.language import GATEWAY_MAC, packet

KEY_SET = 0x0A00  # the mark that tells to_overlay so


@pytest.mark.parametrize("sentence", ["A to R tcp syn 80", "A to router2 icmp echo 1", "A to 10.1.2.77 udp 53"])
def test_tunnel_a_pod_sends_into_the_overlay(tunnel: Lab, sentence: str):
    outcome = tunnel.send("from_container", sentence)
    assert (outcome.says, outcome.action, outcome.mark) == ("to-overlay new", "redirect", KEY_SET)


@pytest.mark.parametrize("sentence", ["A to R tcp syn 80", "A to 10.1.2.77 udp 53"])
def test_native_a_pod_sends_by_the_nodes_routes(native: Lab, sentence: str):
    outcome = native.send("from_container", sentence)
    assert (outcome.says, outcome.action) == ("to-network new", "redirect")
    assert outcome.packet.dst == GATEWAY_MAC  # the kernel writes node2's, and asks again when it is old


def test_native_a_running_connection_gets_its_mac_from_the_neighbour_table(native: Lab):
    native.send("from_container", "A to R tcp syn 80")
    outcome = native.send("from_container", "A to R tcp ack 80")
    assert (outcome.says, outcome.action) == ("to-network established", "redirect")
    assert outcome.packet.dst == "02:00:00:00:00:52"  # node2's


def test_tunnel_too_long_for_the_overlay_is_the_stacks_to_answer(tunnel: Lab):
    assert tunnel.send("from_container", "A to R udp 53 length 1460").says == "to-stack new"
    assert tunnel.send("from_container", "A to R udp 54 length 1400").says == "to-overlay new"


def test_native_too_long_for_the_device_is_the_stacks_to_answer(native: Lab):
    assert native.send("from_container", "A to R udp 53 length 1600").says == "to-stack new"


def test_overlay_passes_what_has_its_key(tunnel: Lab):
    outcome = tunnel.send("to_overlay", "A to R tcp syn 80", mark=KEY_SET)
    assert (outcome.says, outcome.mark) == ("untouched", 0)


@pytest.mark.parametrize(
    ("sentence", "says", "identity"),
    [
        ("router to R tcp syn 80", "to-overlay new", 1),
        ("node to R tcp syn 80", "to-overlay new", 1),
        ("A to R tcp syn 80", "to-overlay new", IDENTITY["A"]),
        ("W to R tcp syn 80", "to-overlay new", 2),
        ("C to R tcp syn 80", "to-overlay new", IDENTITY["C"]),
        ("router to W tcp syn 80", "drop NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT", 1),
        ("router to node2 tcp syn 80", "drop NO_TUNNEL_OR_ENCAPSULATION_ENDPOINT", 1),
    ],
)
def test_overlay_gets_its_key_for_what_the_stack_sends(tunnel: Lab, sentence: str, says: str, identity: int):
    outcome = tunnel.send("to_overlay", sentence)
    assert (outcome.says, outcome.events[-1]["src_identity"]) == (says, identity)


@pytest.mark.parametrize(
    ("sentence", "identity", "says"),
    [
        ("R to A tcp syn 80", IDENTITY["R"], "to-endpoint new"),
        ("router2 to A icmp echo 3", 6, "to-endpoint new"),
        ("R to router tcp syn 4240", IDENTITY["R"], "to-host new"),
        ("R to node tcp syn 4240", IDENTITY["R"], "to-host new"),
        ("R to nobody tcp syn 80", IDENTITY["R"], "drop NO_MATCHING_LOCAL_CONTAINER_FOUND"),
        ("R to W tcp syn 80", IDENTITY["R"], "drop NO_MATCHING_LOCAL_CONTAINER_FOUND"),
        ("R to A tcp syn 80", 1, "drop INVALID_IDENTITY"),
        ("node to A tcp syn 80", 6, "drop INVALID_SOURCE_IP"),
    ],
)
def test_out_of_the_overlay(tunnel: Lab, sentence: str, identity: int, says: str):
    outcome = tunnel.send("from_overlay", sentence, identity=identity)
    assert outcome.says == says
    if says == "to-endpoint new":
        assert (outcome.packet.src, outcome.packet.dst) == (LXC_MAC["A"], POD_MAC["A"])
        assert (outcome.action, outcome.events[-1]["src_identity"]) == ("redirect", identity)


@pytest.mark.parametrize(
    ("sender", "identity"),
    [("router2", 6), ("router3", IDENTITY["node3"]), ("node4", 7), ("C", IDENTITY["C"]), ("W", 2)],
)
def test_another_node_in_the_key_is_whoever_has_the_address(tunnel: Lab, sender: str, identity: int):
    outcome = tunnel.send("from_overlay", f"{sender} to A udp 53", identity=6)
    assert (outcome.says, outcome.events[-1]["src_identity"]) == ("to-endpoint new", identity)


def test_out_of_the_overlay_without_a_key(tunnel: Lab):
    assert tunnel.send("from_overlay", "R to A tcp syn 80").says == "drop ERROR_RETRIEVING_TUNNEL_KEY"


@pytest.mark.parametrize(
    ("sentence", "identity"),
    [
        ("R to A tcp syn 80", IDENTITY["R"]),
        ("node2 to A tcp syn 80", 6),
        ("W to A tcp syn 80", 2),
        ("10.1.2.77 to A udp 1", 3),
    ],
)
def test_native_from_the_network(native: Lab, sentence: str, identity: int):
    outcome = native.send("from_netdev", sentence)
    assert (outcome.says, outcome.action) == ("to-endpoint new", "redirect")
    assert outcome.events[-1]["src_identity"] == identity
    assert outcome.packet.dst == POD_MAC["A"]


@pytest.mark.parametrize("sentence", ["R to A tcp syn 80", "10.1.2.77 to A udp 1", "node to A tcp syn 80"])
def test_tunnel_a_pods_address_without_the_tunnel_is_forged(tunnel: Lab, sentence: str):
    assert tunnel.send("from_netdev", sentence).says == "drop INVALID_SOURCE_IP"


def test_a_pod_of_this_node_does_not_come_from_the_network(lab: Lab):
    assert lab.send("from_netdev", "B to A tcp syn 80").says == "drop INVALID_SOURCE_IP"


@pytest.mark.parametrize("sentence", ["W to A tcp syn 80", "A to W tcp syn 80", "W to node tcp syn 80"])
def test_what_a_switch_floods_for_another_machine_is_not_touched(guarded: Lab, sentence: str):
    """Seen where the device is promiscuous; the stack drops it."""
    guarded.policy("node ingress enforced")
    frame = packet(sentence)
    frame.dst = "02:00:00:00:00:77"
    assert guarded.send("from_netdev", bytes(frame)).says == "untouched"


@pytest.mark.parametrize("sentence", ["W to A tcp syn 80", "W to node tcp syn 80"])
def test_another_vlan_is_another_network(guarded: Lab, sentence: str):
    guarded.policy("node ingress enforced")
    guarded.policy("node egress enforced")
    assert guarded.send("from_netdev", sentence, vlan=7).says == "untouched"
    assert guarded.send("to_netdev", "node to W tcp syn 80", vlan=7).says == "untouched"


@pytest.mark.parametrize("sentence", ["W to A tcp syn 80", "W to node tcp syn 80"])
def test_a_priority_without_a_vlan_is_no_other_network(guarded: Lab, sentence: str):
    """The stack takes it as the device's own, so the policy has to see it."""
    guarded.policy("node ingress enforced")
    guarded.policy("node egress enforced")
    guarded.policy("A ingress enforced")
    assert guarded.send("from_netdev", sentence, vlan=0).says == "drop POLICY_DENIED"
    assert guarded.send("to_netdev", "node to W tcp syn 80", vlan=0).says == "drop POLICY_DENIED"


@pytest.mark.parametrize(
    "sentence",
    [
        "W to node tcp syn 22",
        "node2 to node udp 8472",
        "W to W2 tcp syn 1",
        "R to nobody tcp 1",
        "W to node icmp echo 1",
    ],
)
def test_what_is_for_no_pod_is_not_touched(lab: Lab, sentence: str):
    outcome = lab.send("from_netdev", sentence)
    assert outcome.says == "untouched"
