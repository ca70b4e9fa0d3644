"""Rows that come in any order in; the policies in force, and whose endpoints a change concerns, out."""

import pytest

from seta_agent.programmer import policyindex
from seta_agent.programmer.policyindex import PolicyIndex
from seta_agent.tables import (
    Policy,
    PolicyDirection,
    PolicyEntry,
    PolicyRule,
    PortMatch,
    SelectorSet,
    Tables,
)


class World:
    """Tables whose changes go straight into an index; each step says whom it concerned."""

    def __init__(self):
        self.tables = Tables()
        self.index = PolicyIndex(self.tables)

    def set(self, name, *identities):
        self.tables.selector_sets.set(name, SelectorSet(name, name, frozenset(identities)))
        return self.index.set_changed(name)

    def drop_set(self, name):
        self.tables.selector_sets.delete(name)
        return self.index.set_changed(name)

    def policy(self, name, subject, *peers, ports=None):
        entry = PolicyEntry("spec.ingress[0]", deny=False, peers=peers, ports=ports)
        direction = PolicyDirection(default_deny=True, entries=(entry,))
        rule = PolicyRule(subject, direction, direction)
        self.tables.policies.set(name, Policy(name, name, 1, (rule,)))
        return self.index.policy_changed(name)

    def drop_policy(self, name):
        self.tables.policies.delete(name)
        return self.index.policy_changed(name)

    def selecting(self, identity):
        return [row.name for row in self.index.selecting(identity)]


@pytest.fixture
def world():
    return World()


def test_a_policy_concerns_its_subjects(world):
    world.set("ss-a", 300, 301)
    assert world.policy("p", "ss-a") == {300, 301}
    assert world.selecting(300) == ["p"]
    assert world.selecting(400) == []


def test_a_policy_waits_for_its_subject(world):
    assert world.policy("p", "ss-a") == set()
    assert world.index.waiting == {"p"}
    assert world.selecting(300) == []
    assert world.set("ss-a", 300) == {300}
    assert world.selecting(300) == ["p"]


def test_an_unknown_peer_keeps_nothing_waiting(world):
    world.set("ss-a", 300)
    assert world.policy("p", "ss-a", "ss-unknown") == {300}
    assert world.set("ss-unknown", 500) == {300}


def test_the_version_before_stays_in_force_until_the_new_subject_is_known(world):
    world.set("ss-a", 300)
    world.policy("p", "ss-a")
    assert world.policy("p", "ss-b") == set()
    assert world.selecting(300) == ["p"]
    assert world.set("ss-b", 301) == {300, 301}
    assert world.selecting(300) == []
    assert world.selecting(301) == ["p"]


def test_a_set_stays_while_a_policy_in_force_refers_to_it(world):
    world.set("ss-a", 300)
    world.policy("p", "ss-a")
    assert world.drop_set("ss-a") == set()
    assert world.selecting(300) == ["p"]
    assert world.drop_policy("p") == {300}
    assert world.index.sets == {}


def test_a_changed_subject_concerns_who_came_and_who_went(world):
    world.set("ss-a", 300, 301)
    world.policy("p", "ss-a")
    assert world.set("ss-a", 301, 302) == {300, 302}


def test_a_changed_peer_concerns_the_subjects(world):
    world.set("ss-a", 300)
    world.set("ss-b", 500)
    world.policy("p", "ss-a", "ss-b")
    assert world.set("ss-b", 500, 501) == {300}


def test_a_set_of_nobody_concerns_nobody(world):
    assert world.set("ss-a", 300) == set()
    assert world.drop_set("ss-a") == set()
    assert world.index.sets == {}


def test_named_egress_ports_are_remembered(world):
    world.set("ss-a", 300)
    world.set("ss-b", 400)
    world.policy("p", "ss-a", ports=(PortMatch("TCP", name="http"),))
    world.policy("q", "ss-b", ports=(PortMatch("TCP", 80),))
    assert world.index.with_named_egress_ports() == {300}


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (("k8s:app=x",), {}),
        (
            ("k8s:app=x", "k8s:io.cilium.k8s.named-ports=dns=53/UDP,http=80/TCP"),
            {("dns", "UDP"): (53,), ("http", "TCP"): (80,)},
        ),
    ],
)
def test_named_ports_stand_in_an_identitys_labels(labels, named):
    assert policyindex.named_ports(labels) == named


def test_of_an_endpoints_ports_with_one_name_the_first_counts():
    ports = (("http", 80, "TCP"), ("http", 81, "TCP"), ("http", 82, "UDP"))
    assert policyindex.own_ports(ports) == {("http", "TCP"): (80,), ("http", "UDP"): (82,)}


def test_a_set_with_the_api_server_has_the_node_on_which_that_is(world):
    world.set("ss-a", 300)
    world.set("ss-api", 7)
    world.set("ss-other", 8)
    world.policy("p", "ss-a", "ss-api")
    assert world.index.own_node_changed(is_api_server=True) == {"ss-api"}
    assert world.index.own_node_changed(is_api_server=True) == set()
    assert world.index.set_changed("ss-api") == {300}
    assert world.index.sets["ss-api"] == {1, 7}
    assert world.index.own_node_changed(is_api_server=False) == {"ss-api"}
    world.index.set_changed("ss-api")
    assert world.index.sets["ss-api"] == {7}


def test_other_nodes_are_never_this_one(world):
    world.index.own_node_changed(is_api_server=True)
    world.tables.selector_sets.set("ss-r", SelectorSet("ss-r", "entity:remote-node", frozenset({6, 7, 33554433})))
    world.index.set_changed("ss-r")
    assert world.index.sets["ss-r"] == {6, 7, 33554433}


def test_a_policy_for_nodes_waits_for_no_subject_and_selects_no_pod(world):
    direction = PolicyDirection(default_deny=True, entries=())
    world.tables.policies.set("h", Policy("h", "h", 3, (PolicyRule("", direction, None, ("n1", "n2")),)))
    assert world.index.policy_changed("h") == set()
    assert [row.name for row in world.index.selecting_node("n1")] == ["h"]
    assert world.index.selecting_node("n3") == []
    assert world.selecting(300) == []
    assert world.index.generations() == {"h": 3}
