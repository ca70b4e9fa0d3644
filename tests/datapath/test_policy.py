"""Policy: fail closed, the most specific entry, precedence, deny before allow; and what is said about it."""

import pytest

from tests.datapath.lab import ENDPOINT, Lab

DENIED, DENY = "drop POLICY_DENIED", "drop POLICY_DENY"
ALLOWED = "to-endpoint new"

# what B's ingress policy says, what A sends to B, what becomes of it
INGRESS = [
    (["enforced"], "tcp syn 80", DENIED),
    (["allow A"], "tcp syn 80", ALLOWED),
    (["allow A"], "udp 53", ALLOWED),
    (["allow R"], "tcp syn 80", DENIED),
    (["allow world"], "tcp syn 80", DENIED),
    (["allow any"], "tcp syn 80", ALLOWED),
    (["allow any tcp"], "tcp syn 80", ALLOWED),
    (["allow any tcp"], "udp 80", DENIED),
    (["allow any tcp 80"], "tcp syn 80", ALLOWED),
    (["allow any tcp 80"], "tcp syn 81", DENIED),
    (["allow A tcp 80"], "tcp syn 80", ALLOWED),
    (["allow A tcp 80"], "tcp syn 81", DENIED),
    (["allow A tcp 80"], "udp 80", DENIED),
    (["allow A sctp 9"], "sctp 9", ALLOWED),
    (["allow A icmp type 8"], "icmp echo 1", ALLOWED),
    (["allow A icmp type 8"], "icmp timestamp", DENIED),
    (["allow A icmp"], "icmp timestamp", ALLOWED),
    (["allow R", "allow A tcp 80"], "tcp syn 80", ALLOWED),
    (["allow A icmp type 0"], "icmp reply 1", ALLOWED),
    (["allow A icmp type 0"], "icmp echo 1", DENIED),
    (["allow A sctp 9"], "sctp 10", DENIED),
    (["allow A sctp 9"], "udp 9", DENIED),
    (["allow any sctp"], "sctp 9", ALLOWED),
    (["deny A sctp 9", "allow A sctp"], "sctp 9", DENY),
    # ranges of ports
    (["allow A tcp 8080/12"], "tcp syn 8080", ALLOWED),
    (["allow A tcp 8080/12"], "tcp syn 8095", ALLOWED),
    (["allow A tcp 8080/12"], "tcp syn 8096", DENIED),
    (["allow A tcp 8080/12"], "udp 8080", DENIED),
    (["allow A tcp 8080/12", "deny A tcp 8085"], "tcp syn 8085", DENY),
    (["allow A tcp 8080/12", "deny A tcp 8085"], "tcp syn 8084", ALLOWED),
    (["deny any tcp 8080/12", "allow A tcp 8085"], "tcp syn 8085", DENY),
    (["allow any sctp 0/1"], "sctp 32767", ALLOWED),
    (["allow any sctp 0/1"], "sctp 32768", DENIED),
    # deny
    (["deny A"], "tcp syn 80", DENY),
    (["deny any"], "tcp syn 80", DENY),
    (["deny A tcp 80"], "tcp syn 80", DENY),
    (["deny A tcp 80"], "tcp syn 81", DENIED),
    (["allow A", "deny A tcp 80"], "tcp syn 80", DENY),
    (["allow A", "deny A tcp 80"], "tcp syn 81", ALLOWED),
    (["allow A", "deny any tcp 80"], "tcp syn 80", DENY),
    (["allow A tcp 80", "deny any"], "tcp syn 80", DENY),
    (["allow any", "deny A"], "tcp syn 80", DENY),
    (["allow any", "deny R"], "tcp syn 80", ALLOWED),
    # precedence: the higher decides, whichever is more specific
    (["allow A precedence 2", "deny any precedence 1"], "tcp syn 80", ALLOWED),
    (["allow any precedence 2", "deny A precedence 1"], "tcp syn 80", ALLOWED),
    (["allow A precedence 1", "deny any precedence 2"], "tcp syn 80", DENY),
    (["allow any tcp 80 precedence 1", "deny A precedence 2"], "tcp syn 80", DENY),
    (["allow any tcp 80 precedence 3", "deny A tcp 80 precedence 2"], "tcp syn 80", ALLOWED),
    (["allow A precedence 4294967295", "deny any precedence 4294967294"], "tcp syn 80", ALLOWED),
]


@pytest.mark.parametrize(("rules", "sentence", "says"), INGRESS)
def test_ingress(native: Lab, rules: list[str], sentence: str, says: str):
    for rule in rules:
        native.policy(f"B ingress {rule}")
    assert native.send("from_container", f"A to B {sentence}").says == says


EGRESS = [
    (["enforced"], "A to B tcp syn 80", DENIED),
    (["enforced"], "A to node tcp syn 22", DENIED),
    (["enforced"], "A to W tcp syn 443", DENIED),
    (["allow B tcp 80"], "A to B tcp syn 80", ALLOWED),
    (["allow world"], "A to W tcp syn 443", "to-stack new"),
    (["allow world"], "A to node2 tcp syn 443", DENIED),
    (["allow host"], "A to node tcp syn 22", "to-host new"),
    (["allow host"], "A to router tcp syn 22", "to-host new"),
    (["allow remote-node"], "A to node2 tcp syn 22", "to-stack new"),
    (["allow R udp 53"], "A to R udp 53", "to-network new"),
    (["allow R udp 53"], "A to R udp 54", DENIED),
    (["allow any", "deny world"], "A to W tcp syn 443", DENY),
    (["allow any", "deny world"], "A to B tcp syn 443", ALLOWED),
    (["allow world"], "A to C tcp syn 443", DENIED),
    (["allow C"], "A to C tcp syn 443", "to-stack new"),
    (["allow C"], "A to W tcp syn 443", DENIED),
    (["allow node3"], "A to node3 tcp syn 443", "to-stack new"),
    (["allow kube-apiserver tcp 6443"], "A to node4 tcp syn 6443", "to-stack new"),
]


@pytest.mark.parametrize(("rules", "sentence", "says"), EGRESS)
def test_egress(native: Lab, rules: list[str], sentence: str, says: str):
    for rule in rules:
        native.policy(f"A egress {rule}")
    assert native.send("from_container", sentence).says == says


def test_both_ends_must_agree(native: Lab):
    native.policy("A egress allow B")
    native.policy("B ingress enforced")
    assert native.send("from_container", "A to B tcp syn 80").says == DENIED
    native.policy("B ingress allow A")
    assert native.send("from_container", "A to B tcp syn 80").says == ALLOWED


def test_egress_rules_are_not_ingress_rules(native: Lab):
    native.policy("B egress allow A")
    native.policy("B ingress enforced")
    assert native.send("from_container", "A to B tcp syn 80").says == DENIED


def test_remote_senders_meet_the_same_policy(tunnel: Lab, native: Lab):
    for lab in (tunnel, native):
        lab.policy("A ingress allow R tcp 80")
    assert native.send("from_netdev", "R to A tcp syn 80").says == ALLOWED
    assert native.send("from_netdev", "W to A tcp syn 80").says == DENIED
    assert tunnel.send("from_overlay", "R to A tcp syn 80", identity=2001).says == ALLOWED
    assert tunnel.send("from_overlay", "R to A tcp syn 81", identity=2001).says == DENIED
    assert tunnel.send("from_overlay", "R to A tcp syn 80 from 1", identity=2002).says == DENIED


def test_no_policy_map_is_a_drop(native: Lab):
    native.policy("A egress allow any")
    outer, key = native.maps["cilium_policy_maps"], ENDPOINT["A"].to_bytes(4, "little")
    outer.remove(key)
    try:
        says = native.send("from_container", "A to B tcp syn 80").says
    finally:
        outer.set(key, native.policies[ENDPOINT["A"]].fd.to_bytes(4, "little"))
    assert says == "drop NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION"


def test_entries_count_what_they_decided(native: Lab):
    native.policy("B ingress allow A tcp 80")
    native.policy("B ingress deny any tcp 81")
    for sentence in ("tcp syn 80", "tcp ack 80", "tcp syn 81"):
        native.send("from_container", f"A to B {sentence}")
    _, values = native.policies[ENDPOINT["B"]].dump()
    assert sorted((int(v["deny"]), int(v["packets"]), int(v["bytes"])) for v in values) == [(0, 2, 108), (1, 1, 54)]


VERDICTS = [
    ("allow A tcp 80 cookie 7", "tcp syn 80", ("forwarded", 7, "l3-l4")),
    ("allow A tcp cookie 8", "tcp syn 80", ("forwarded", 8, "l3-proto")),
    ("allow A cookie 9", "tcp syn 80", ("forwarded", 9, "l3-only")),
    ("allow any tcp 80 cookie 7", "tcp syn 80", ("forwarded", 7, "l4-only")),
    ("allow any tcp cookie 8", "tcp syn 80", ("forwarded", 8, "proto-only")),
    ("allow any cookie 9", "tcp syn 80", ("forwarded", 9, "all")),
    ("deny A cookie 3", "tcp syn 80", ("dropped", 3, "l3-only")),
    ("enforced", "tcp syn 80", ("dropped", 0, "none")),
]


@pytest.mark.parametrize(("rule", "sentence", "verdict"), VERDICTS)
def test_the_verdict_names_the_rule(native: Lab, rule: str, sentence: str, verdict: tuple[str, int, str]):
    native.policy(f"B ingress {rule}")
    first, last = native.send("from_container", f"A to B {sentence}").events
    assert first["type"] == "policy-verdict"
    assert (first["verdict"], first["cookie"], first["match"]) == verdict
    assert (first["endpoint_id"], first["direction"]) == (ENDPOINT["B"], "ingress")
    assert last["type"] == ("drop" if verdict[0] == "dropped" else "trace")


def test_established_connections_are_judged_without_a_verdict(native: Lab):
    native.policy("B ingress allow A tcp 80")
    native.send("from_container", "A to B tcp syn 80")
    events = native.send("from_container", "A to B tcp ack 80").events
    assert [event["type"] for event in events] == ["trace"]


def test_audit_reports_and_lets_pass(native: Lab):
    native.policy("B ingress deny A cookie 5")
    native.audit("B")
    outcome = native.send("from_container", "A to B tcp syn 80")
    assert outcome.says == ALLOWED
    assert (outcome.events[0]["verdict"], outcome.events[0]["reason"]) == ("audit", "POLICY_DENY")
    running = native.send("from_container", "A to B tcp ack 80")
    assert running.says == "to-endpoint established"
    assert [event["type"] for event in running.events] == ["trace"]
