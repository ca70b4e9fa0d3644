"""Policies in, map entries out; the datapath's lookups on them must say what a plain reading says."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seta_agent.desired import policy, policymap, ports, verdict
from seta_agent.tables import Policy, PolicyDirection, PolicyEntry, PolicyRule, PortMatch
from tests.unit.agent_core import decode

SETS = {"ss-a": frozenset({300}), "ss-b": frozenset({301, 302}), "ss-all": frozenset({300, 301, 302})}
NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132, "ICMP": 1}
PORTS = st.sampled_from([None, 0, 53, 80, 81, 443, 8080])


def lookup(flat, identity, protocol, port):
    """What the datapath does: the longest prefix for the identity and for any, then precedence, then deny."""

    def longest(label):
        for length in range(64, 39, -1):
            key = (0, 0, 40) if length == 40 else (protocol, port & -(1 << 64 - length) & 0xFFFF, length)
            if (40 < length < 48) or (label, key) not in flat:
                continue
            return flat[label, key]
        return None

    hits = [hit for hit in (longest(identity), longest(0)) if hit]
    if not hits:
        return False
    return not max(hits, key=lambda hit: (hit.precedence, hit.deny)).deny


def matches(entry, identity, protocol, port):
    """A plain reading of one entry."""
    if entry.peers is not None and not any(identity in SETS[name] for name in entry.peers):
        return False
    if entry.ports is None:
        return True
    return any(port_matches(one, protocol, port) for one in entry.ports)


def port_matches(one, protocol, port):
    if one.protocol == "ANY":
        if not one.port:
            return True
        if protocol not in {6, 17, 132}:
            return False
    elif NUMBERS[one.protocol] != protocol:
        return False
    return not one.port or one.port <= port <= (one.end_port or one.port)


def naive(rules, identity, protocol, port):
    entries = [entry for _, direction in rules for entry in direction.entries]
    hit = [entry for entry in entries if matches(entry, identity, protocol, port)]
    if any(entry.deny and not entry.yields for entry in hit):
        return False
    if any(not entry.deny for entry in hit):
        return True
    return not hit and not any(direction.default_deny for _, direction in rules)


@st.composite
def port_match(draw):
    protocol = draw(st.sampled_from(["TCP", "UDP", "ANY"]))
    port = draw(st.sampled_from([0, 53, 80, 81, 443]))
    end = draw(st.sampled_from([0, 81, 443, 8080])) if port else 0
    return PortMatch(protocol, port, end if end >= port else 0)


ENTRY = st.builds(
    PolicyEntry,
    origin=st.just("spec.egress[0]"),
    deny=st.booleans(),
    peers=st.none() | st.lists(st.sampled_from(sorted(SETS)), max_size=2).map(tuple),
    ports=st.none() | st.lists(port_match(), min_size=1, max_size=3).map(tuple),
)
ENTRY = ENTRY.flatmap(lambda one: st.sampled_from([one, dataclasses.replace(one, deny=True, yields=True)]))
DIRECTION = st.builds(PolicyDirection, default_deny=st.booleans(), entries=st.lists(ENTRY, max_size=3).map(tuple))
RULES = st.lists(st.tuples(st.sampled_from(["p1", "p2", "p3"]), DIRECTION), min_size=1, max_size=4)


@given(RULES, st.sampled_from([256, 300, 301, 302]), st.sampled_from([6, 17, 1]), st.integers(0, 65535) | PORTS)
def test_the_map_says_what_the_policies_say(rules, identity, protocol, port):
    found = policy.egress(rules, "default", SETS, {})
    assert found.enforced
    allowed = naive(rules, identity, protocol, port or 0)
    assert lookup(found.entries, identity, protocol, port or 0) == allowed
    packet = verdict.Packet(protocol, port or 0)
    told = verdict.decide(rules, found, identity, packet, sets=SETS, named=lambda _: {})
    assert told.allowed == allowed
    assert told.rules or told.default_allow or told.default_deny or found.default_deny == frozenset()


def rule(*entries, default_deny=True):
    return [("CiliumNetworkPolicy default/p", PolicyDirection(default_deny, entries))]


def allow(peers=None, ports_=None):
    return PolicyEntry("spec.ingress[0]", deny=False, peers=peers, ports=ports_)


def deny(peers=None, ports_=None):
    return dataclasses.replace(allow(peers, ports_), deny=True)


def test_without_rules_a_direction_is_open():
    assert not policy.ingress([], "default", SETS, {}).enforced
    assert policy.ingress([], "always", SETS, {}).enforced
    assert not policy.ingress(rule(allow()), "never", SETS, {}).enforced


def test_the_node_may_always_reach_its_pods():
    found = policy.ingress(rule(), "default", SETS, {})
    assert {key[0] for key in found.entries} == {1}
    assert lookup(found.entries, 1, 6, 80)
    assert not lookup(found.entries, 300, 6, 80)


def test_a_deny_reaches_the_node_too():
    assert not lookup(policy.ingress(rule(deny()), "default", SETS, {}).entries, 1, 6, 80)


def test_a_wide_deny_is_not_hidden_by_a_narrow_allow():
    found = policy.egress(rule(deny(("ss-a",)), allow(("ss-a",), (PortMatch("TCP", 80),))), "default", SETS, {})
    assert [decision.deny for decision in found.entries.values()] == [True]


def test_an_empty_list_of_peers_is_nobody():
    assert policy.egress(rule(allow(())), "default", SETS, {}).entries == {}


def test_an_unknown_peer_set_is_nobody():
    assert policy.egress(rule(allow(("ss-unheard-of",))), "default", SETS, {}).entries == {}


def test_a_policy_without_default_deny_leaves_the_rest_open():
    found = policy.egress(rule(deny(("ss-a",)), default_deny=False), "default", SETS, {})
    assert not lookup(found.entries, 300, 6, 80)
    assert lookup(found.entries, 301, 6, 80)
    assert found.default_deny == frozenset()


def test_named_ports_of_ingress_are_the_endpoints_own():
    rules = rule(allow(("ss-a",), (PortMatch("TCP", name="http"),)))
    found = policy.ingress(rules, "default", SETS, {("http", "TCP"): (8080,)})
    assert lookup(found.entries, 300, 6, 8080)
    assert not lookup(found.entries, 300, 6, 80)


def test_named_ports_of_egress_are_those_of_the_destinations():
    rules = rule(allow(("ss-b",), (PortMatch("TCP", name="http"),)))
    destinations = {301: {("http", "TCP"): (80,)}, 302: {("http", "TCP"): (8080,)}, 300: {("http", "TCP"): (9,)}}
    found = policy.egress(rules, "default", SETS, destinations)
    assert set(found.entries) == {(301, (6, 80, 64)), (302, (6, 8080, 64))}


def test_named_ports_to_anybody_are_those_of_whoever_has_them():
    rules = rule(allow(None, (PortMatch("TCP", name="http"),)))
    found = policy.egress(rules, "default", SETS, {301: {("http", "TCP"): (80,)}})
    assert set(found.entries) == {(301, (6, 80, 64))}


def test_numbers_beside_a_name_are_for_everybody():
    rules = rule(allow(None, (PortMatch("TCP", 443), PortMatch("TCP", name="http"))))
    found = policy.egress(rules, "default", SETS, {301: {("http", "TCP"): (80,)}})
    assert lookup(found.entries, 2, 6, 443)
    assert lookup(found.entries, 301, 6, 443)
    assert lookup(found.entries, 301, 6, 80)
    assert not lookup(found.entries, 2, 6, 80)


def yielding(peers=None, ports_=None):
    return dataclasses.replace(deny(peers, ports_), yields=True)


@pytest.mark.parametrize(
    ("entries", "default_deny", "allowed"),
    [
        ((yielding(("ss-a",)),), False, False),
        ((yielding(("ss-a",)), allow(("ss-a",), (PortMatch("TCP", 80),))), False, True),
        ((yielding(("ss-a",), (PortMatch("TCP", 80),)), allow(("ss-a",))), False, True),
        ((yielding(("ss-a",), (PortMatch("TCP", 80),)), allow()), False, True),
        ((yielding(), allow(("ss-a",))), False, True),
        ((yielding(("ss-a",), (PortMatch("TCP", 80),)), deny(("ss-a",)), allow()), False, False),
        ((yielding(("ss-a",)),), True, False),
    ],
)
def test_a_deny_that_yields_is_beaten_by_any_allow_but_not_by_none(entries, default_deny, allowed):
    found = policy.egress(rule(*entries, default_deny=default_deny), "default", SETS, {})
    assert lookup(found.entries, 300, 6, 80) == allowed


@pytest.mark.parametrize(("type_", "allowed"), [(0, True), (8, False)])
def test_of_icmp_the_port_is_a_type_zero_too(type_, allowed):
    found = policy.egress(rule(allow(("ss-a",), (PortMatch("ICMP", 0),))), "default", SETS, {})
    asked = verdict.packet("ICMP", type_)
    assert (verdict.lookup(found.entries, 300, asked) is not None) == allowed


def decided(rules, found, peer, port=80, named=lambda _: {}):
    return verdict.decide(rules, found, peer, verdict.packet("TCP", port), sets=SETS, named=named)


def test_a_verdict_names_the_rules_that_made_it():
    rules = rule(allow(("ss-a",), (PortMatch("TCP", 80),)), allow(("ss-b",)))
    rules += [("NetworkPolicy default/q", PolicyDirection(default_deny=True, entries=rules[0][1].entries[:1]))]
    told = decided(rules, policy.ingress(rules, "default", SETS, {}), 300)
    assert told.allowed
    assert told.rules == (
        verdict.Rule("CiliumNetworkPolicy default/p", "spec.ingress[0]"),
        verdict.Rule("NetworkPolicy default/q", "spec.ingress[0]"),
    )


def test_a_verdict_names_who_denies_by_default():
    rules = rule(allow(("ss-a",)))
    told = decided(rules, policy.ingress(rules, "default", SETS, {}), 301)
    assert (told.allowed, told.rules, told.default_deny) == (False, (), ("CiliumNetworkPolicy default/p",))


def test_a_verdict_says_that_nothing_denies_by_default():
    rules = rule(deny(("ss-a",)), default_deny=False)
    told = decided(rules, policy.egress(rules, "default", SETS, {}), 301)
    assert (told.allowed, told.default_allow, told.rules) == (True, True, ())


def test_a_verdict_knows_rules_that_name_ports():
    rules = rule(allow(None, (PortMatch("TCP", name="http"),)))
    destinations = {301: {("http", "TCP"): (80,)}}
    found = policy.egress(rules, "default", SETS, destinations)
    told = decided(rules, found, 301, named=lambda peer: destinations.get(peer, {}))
    assert [one.origin for one in told.rules] == ["spec.ingress[0]"]


def test_the_node_is_let_in_by_no_rule():
    told = decided(rule(), policy.ingress(rule(), "default", SETS, {}), 1)
    assert (told.allowed, told.localhost) == (True, True)


def test_rules_are_selected_by_subject():
    found = Policy("cnp.default.p", "p", 1, (PolicyRule("ss-a", PolicyDirection(default_deny=True, entries=()), None),))
    assert policy.select([found], 300, SETS) == ([("p", PolicyDirection(default_deny=True, entries=()))], [])
    assert policy.select([found], 301, SETS) == ([], [])


def test_entries_name_every_policy_that_made_them():
    both = [
        ("one", PolicyDirection(default_deny=True, entries=(allow(),))),
        ("two", PolicyDirection(default_deny=True, entries=(allow(),))),
    ]
    found = policy.egress(both, "default", SETS, {})
    assert found.entries[0, ports.EVERYTHING].sources == {"one", "two"}
    assert found.default_deny == {"one", "two"}


def test_bytes_have_denies_first_and_cookies_that_name_policies(btf):
    key, value = btf.dtype("policy_key"), btf.dtype("policy_entry")
    cookies = policymap.Cookies()
    rules = rule(allow(("ss-a",), (PortMatch("TCP", 80),)), deny(("ss-b",)))
    entries = policymap.encode({True: policy.egress(rules, "default", SETS, {})}, cookies, key, value)
    read = [
        decode.fields(raw, key, "sec_label", "egress", "protocol", "dport", "prefixlen")
        + decode.fields(entries[raw], value, "deny", "precedence", "prefixlen")
        for raw in entries
    ]
    assert sorted(read[:2]) == [(301, 1, 0, 0, 40, 1, 3, 40), (302, 1, 0, 0, 40, 1, 3, 40)]
    assert read[2] == (300, 1, 6, 80, 64, 0, 2, 64)
    (cookie,) = decode.fields(next(iter(entries.values())), value, "cookie")
    assert cookies.names(cookie) == ("CiliumNetworkPolicy default/p",)


def test_cookies_are_the_same_after_a_restart():
    names = frozenset({"a", "b"})
    assert policymap.Cookies().number(names) == policymap.Cookies().number(names)


def test_cookies_that_collide_differ(monkeypatch):
    monkeypatch.setattr(policymap.zlib, "crc32", lambda _: 0xFFFFFFFF)
    cookies = policymap.Cookies()
    numbers = [cookies.number(frozenset({name})) for name in ("a", "b", "a")]
    assert numbers == [0xFFFFFFFF, 1, 0xFFFFFFFF]
    assert cookies.names(1) == ("b",)
    assert cookies.names(7) == ()


@pytest.mark.parametrize("mode", ["default", "always"])
def test_nothing_selected_and_always_means_nothing_allowed(mode):
    found = policy.egress([], mode, SETS, {})
    assert (found.enforced, found.entries) == (mode == "always", {})
