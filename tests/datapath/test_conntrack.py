"""Connection tracking: what goes forward is judged each time, what comes back is not, and everything ends."""

import time

import pytest

from tests.datapath.lab import Lab

SYN, SYNACK = "A to B tcp syn 80", "B to A tcp synack 40000 from 80"
ACK, BACK = "A to B tcp ack 80", "B to A tcp ack 40000 from 80"
CLOSING = {"tx": 2, "rx": 1}
DENIED = 8  # of `enum ct_entry_flag`

# packets of one connection, in order, and where each goes
STORIES = {
    "a handshake": [(SYN, "new"), (SYNACK, "reply"), (ACK, "established"), (BACK, "reply")],
    "a repeated SYN": [(SYN, "new"), (SYN, "established")],
    "UDP": [("A to B udp 53", "new"), ("B to A udp 40000 from 53", "reply"), ("A to B udp 53", "established")],
    "echo": [("A to B icmp echo 7", "new"), ("B to A icmp reply 7", "reply"), ("A to B icmp echo 7", "established")],
    "a client with the lower port": [
        ("A to B tcp syn 40000 from 80", "new"),
        ("B to A tcp synack 80 from 40000", "reply"),
        ("A to B tcp ack 40000 from 80", "established"),
    ],
    "the same port at both ends": [
        ("A to B udp 53 from 53", "new"),
        ("B to A udp 53 from 53", "reply"),
        ("A to B udp 53 from 53", "established"),
    ],
    "a question of ICMP and its answer, told apart": [
        ("A to B icmp timestamp 7", "new"),
        ("B to A icmp timestamp 8", "new"),
        ("B to A icmp timestamp-reply 7", "reply"),
        ("A to B icmp timestamp-reply 8", "reply"),
    ],
    "an echo of another number": [("A to B icmp echo 7", "new"), ("B to A icmp reply 8", "new")],
    "SCTP": [("A to B sctp 9", "new"), ("B to A sctp 40000 from 9", "reply")],
    "a mid-stream packet": [(ACK, "new"), (BACK, "reply")],
    "an RST opens nothing": [("A to B tcp rst 80", "new"), (ACK, "new")],
    "a SYN is no answer": [(SYN, "new"), ("B to A tcp syn 40000 from 80", "new")],
    "another port": [(SYN, "new"), ("B to A tcp ack 40001 from 80", "new")],
    "a SYN after RST opens anew": [(SYN, "new"), ("B to A tcp rst 40000 from 80", "reply"), (SYN, "new")],
    "a SYN after FIN opens anew": [
        (SYN, "new"),
        (ACK, "established"),
        ("A to B tcp fin 80", "established"),
        (SYN, "new"),
    ],
    "the last ACK after FIN": [
        (SYN, "new"),
        ("A to B tcp fin 80", "established"),
        (BACK, "reply"),
        (ACK, "established"),
    ],
    "TCP and UDP apart": [
        ("A to B tcp syn 53", "new"),
        ("A to B udp 53", "new"),
        ("B to A udp 40000 from 53", "reply"),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_states(lab: Lab, story: str):
    told = [lab.send("from_container", sentence).says for sentence, _ in STORIES[story]]
    assert told == [f"to-endpoint {state}" for _, state in STORIES[story]]


def test_answers_pass_whatever_the_policy(lab: Lab):
    lab.policy("A ingress enforced")
    lab.policy("B egress enforced")
    assert lab.send("from_container", SYNACK).says == "drop POLICY_DENIED"
    lab.send("from_container", SYN)
    assert lab.send("from_container", SYNACK).says == "to-endpoint reply"


def test_a_withdrawn_permission_stops_a_running_connection(lab: Lab):
    lab.send("from_container", SYN)
    lab.policy("B ingress enforced")
    assert lab.send("from_container", ACK).says == "drop POLICY_DENIED"
    assert lab.send("from_container", BACK).says == "drop POLICY_DENIED"


LOSSES = {  # what takes the permission away -> what gives it back
    "B ingress enforced": "B ingress allow A",
    "A egress enforced": "A egress allow B",
    "B ingress deny A tcp 80": None,
    "A egress deny B": None,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_refused_connection_is_cut_in_both_directions_until_it_is_allowed(lab: Lab, loss: str):
    lab.policy("A egress allow B")
    lab.policy("B ingress allow A")
    for sentence in (SYN, SYNACK, ACK):
        lab.send("from_container", sentence)
    lab.forbid()
    lab.policy(loss)
    assert lab.send("from_container", ACK).says.startswith("drop POLICY_DEN")
    refused = lab.send("from_container", BACK)
    assert (refused.says, [event["type"] for event in refused.events]) == ("drop POLICY_DENIED", ["drop"])
    lab.forbid()
    lab.policy("A egress allow B")
    lab.policy("B ingress allow A")
    assert lab.send("from_container", BACK).says == "drop POLICY_DENIED"  # what goes forward decides
    assert lab.send("from_container", ACK).says == "to-endpoint established"
    assert lab.send("from_container", BACK).says == "to-endpoint reply"


def test_the_agent_cuts_where_nothing_goes_forward(lab: Lab):
    lab.send("from_container", "A to B udp 53")
    for key, value in lab.entries("cilium_ct_any4_global"):
        lab.rewrite("cilium_ct_any4_global", key, flags=int(value["flags"]) | DENIED)
    assert lab.send("from_container", "B to A udp 40000 from 53").says == "drop POLICY_DENIED"


def test_a_cut_connection_is_not_opened_from_its_other_end(lab: Lab):
    lab.send("from_container", SYN)
    lab.policy("A egress enforced")
    lab.send("from_container", ACK)
    assert lab.send("from_container", SYNACK).says == "drop POLICY_DENIED"
    assert len(lab.entries("cilium_ct4_global")) == 2


def test_audit_cuts_nothing(lab: Lab):
    lab.send("from_container", SYN)
    lab.policy("B ingress enforced")
    lab.audit("B")
    assert lab.send("from_container", ACK).says == "to-endpoint established"
    for key, value in lab.entries("cilium_ct4_global"):
        lab.rewrite("cilium_ct4_global", key, flags=int(value["flags"]) | (DENIED if key["flags"] else 0))
    assert lab.send("from_container", BACK).says == "to-endpoint reply"


def test_a_refused_connection_is_not_remembered(lab: Lab):
    lab.policy("A egress enforced")
    lab.send("from_container", SYN)
    assert lab.entries("cilium_ct4_global") == []


def test_a_connection_refused_by_the_target_is_remembered_by_the_sender_only(lab: Lab):
    lab.policy("B ingress enforced")
    lab.send("from_container", SYN)
    assert [int(key["flags"]) for key, _ in lab.entries("cilium_ct4_global")] == [0]


def test_one_entry_for_each_end(lab: Lab):
    lab.send("from_container", SYN)
    keys = sorted(lab.entries("cilium_ct4_global"), key=lambda entry: int(entry[0]["flags"]))
    assert [(int(k["flags"]), int(k["sport"]), int(k["dport"])) for k, _ in keys] == [(0, 40000, 80), (1, 40000, 80)]
    assert {int(v["src_sec_id"]) for _, v in keys} == {1001}


def test_an_expired_connection_is_a_new_one(lab: Lab):
    lab.send("from_container", SYN)
    lab.expire()
    assert lab.send("from_container", ACK).says == "to-endpoint new"


def test_an_expired_connection_has_no_answers(lab: Lab):
    lab.policy("A ingress enforced")
    lab.send("from_container", SYN)
    lab.expire()
    assert lab.send("from_container", SYNACK).says == "drop POLICY_DENIED"


LIFETIMES = [
    ([SYN], 60),
    ([SYN, SYNACK], 60),
    ([SYN, SYNACK, ACK], 8000),
    ([SYN, ACK, "A to B tcp fin 80"], 8000),
    ([SYN, ACK, "A to B tcp fin 80", "B to A tcp fin 40000 from 80"], 10),
    ([SYN, ACK, "B to A tcp rst 40000 from 80"], 10),
]


@pytest.mark.parametrize(("sentences", "seconds"), LIFETIMES)
def test_lifetimes(native: Lab, sentences: list[str], seconds: int):
    for sentence in sentences:
        native.send("from_container", sentence)
    left = [int(value["lifetime"]) - time.monotonic() for _, value in native.entries("cilium_ct4_global")]
    assert len(left) == 2
    assert all(seconds - 2 <= one <= seconds for one in left)


def test_lifetime_without_states(native: Lab):
    native.send("from_container", "A to B udp 53")
    left = [int(value["lifetime"]) - time.monotonic() for _, value in native.entries("cilium_ct_any4_global")]
    assert all(58 <= one <= 60 for one in left)


def test_both_directions_are_counted(native: Lab):
    for sentence in (SYN, SYNACK, ACK):
        native.send("from_container", sentence)
    assert [(int(v["packets"]), int(v["bytes"])) for _, v in native.entries("cilium_ct4_global")] == [(3, 162)] * 2


def test_flags_of_both_ends_are_kept(native: Lab):
    for sentence in (SYN, SYNACK, ACK, "A to B tcp fin 80"):
        native.send("from_container", sentence)
    (value, _) = (entry for _, entry in native.entries("cilium_ct4_global"))
    assert (int(value["tx_flags_seen"]), int(value["rx_flags_seen"])) == (0x13, 0x12)
    assert int(value["flags"]) & 3 == CLOSING["tx"]
