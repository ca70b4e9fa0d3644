"""Policies and Services in; rules, conditions, wishes and lists out."""

import itertools
import pathlib
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seta_crds.conditions import Condition
from seta_operator.services import l2_lists, l2_reach, l2_rules, l2_wishes
from seta_operator.services.l2_reach import Node
from seta_operator.services.l2_rules import BAD_INTERFACES, BAD_NODES, BAD_SERVICES, Rule
from seta_operator.store import facts

NOW, EARLIER = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
EXAMPLE = pathlib.Path(__file__).parents[3] / "examples/loadbalancer/announcements.yaml"
POLICY = "CiliumL2AnnouncementPolicy"
BAD = {"matchLabels": {"-x": "y"}}


def test_nothing_said_selects_everything_and_announces_nothing() -> None:
    assert l2_rules.of(None) == (Rule(), {})
    assert l2_rules.of({"loadBalancerIPs": False, "interfaces": []}) == (Rule(), {})


@pytest.mark.parametrize(
    ("spec", "kind", "says"),
    [
        (
            {"nodeSelector": BAD},
            BAD_NODES,
            'spec.nodeSelector.matchLabels is no selector: "-x" is no label key. Correct it; until then no node',
        ),
        (
            {"serviceSelector": {"matchExpressions": [{"key": "x", "operator": "In", "values": []}]}},
            BAD_SERVICES,
            "spec.serviceSelector.matchExpressions[0] is no selector: operator In on",
        ),
        (
            {"interfaces": ["eth0", "eth("]},
            BAD_INTERFACES,
            'spec.interfaces[1] "eth(" is no regular expression: missing ), unterminated subpattern at position 3. ',
        ),
        ({"interfaces": "eth0"}, BAD_NODES, "spec is not understood"),
    ],
)
def test_what_cannot_be_understood_is_told(spec: dict[str, Any], kind: str, says: str) -> None:
    _, problems = l2_rules.of(spec)
    assert list(problems) == [kind]
    assert problems[kind].startswith(says)


def test_the_examples_are_understood() -> None:
    found = yaml.safe_load_all(EXAMPLE.read_text())
    rules = {body["metadata"]["name"]: l2_rules.of(body["spec"]) for body in found if body["kind"] == POLICY}
    assert {name: problems for name, (_, problems) in rules.items()} == {"all": {}, "shop": {}}
    assert rules["shop"][0].types == {"LoadBalancer", "ExternalIPs"}


def test_a_bad_part_selects_nothing_and_the_rest_stands() -> None:
    rule, _ = l2_rules.of({"nodeSelector": BAD, "serviceSelector": BAD, "interfaces": ["b", "(", "a"]})
    assert (rule.nodes, rule.services, rule.interfaces) == (None, None, ("a", "b"))
    assert l2_rules.of({"interfaces": ["("]})[0].interfaces is None, "not: all of them"


@pytest.mark.parametrize(
    ("spec", "kind", "says"),
    [
        ({"interfaces": [f"({n}" + "x" * 250 for n in range(256)]}, BAD_INTERFACES, "; and 251 more. Correct it"),
        ({"nodeSelector": {"matchLabels": {"-" * 50_000: "x"}}}, BAD_NODES, "-" * 30_000),
    ],
    ids=["many", "long"],
)
def test_whatever_is_wrong_fits_into_a_condition(spec: dict[str, Any], kind: str, says: str) -> None:
    (told,) = l2_rules.conditions([], l2_rules.of(spec)[1], NOW)
    assert (told["type"], says in told["message"]) == (kind, True)
    Condition.model_validate(told)


def test_conditions_come_with_the_first_error_and_stay() -> None:
    assert l2_rules.conditions([], {}, NOW) == []
    (bad,) = l2_rules.conditions([], {BAD_NODES: "wrong"}, EARLIER)
    assert bad == {
        "type": "io.cilium/bad-node-selector",
        "status": "True",
        "lastTransitionTime": EARLIER,
        "reason": "error",
        "message": "wrong",
    }
    (still,) = l2_rules.conditions([bad], {BAD_NODES: "wrong too"}, NOW)
    assert (still["message"], still["lastTransitionTime"]) == ("wrong too", EARLIER)
    others = {"type": "Other", "status": "True"}
    assert l2_rules.conditions([others, bad], {}, NOW) == [
        others,
        {**bad, "status": "False", "lastTransitionTime": NOW, "message": ""},
    ]


@pytest.mark.parametrize(
    ("spec", "facts", "says"),
    [
        ({"externalIPs": True}, (), ""),
        ({}, (), "announces nothing: set spec.loadBalancerIPs or spec.externalIPs"),
        ({"externalIPs": True}, ("selects",), "spec.nodeSelector selects no node"),
        ({"externalIPs": True}, ("announces",), "no Service that spec.serviceSelector selects has an external IP"),
        ({"externalIPs": True}, ("reaches",), "no node that it selects has an interface that is up and matches"),
        ({"externalIPs": True, "nodeSelector": BAD}, ("selects", "reaches", "announces"), ""),
    ],
)
def test_why_a_policy_announces_nothing(spec: dict[str, Any], facts: tuple[str, ...], says: str) -> None:
    known = {name: name not in facts for name in ("selects", "reaches", "announces")}
    assert l2_rules.idle(l2_rules.of(spec)[0], **known).startswith(says)
    assert bool(says) == bool(l2_rules.idle(l2_rules.of(spec)[0], **known))


def service(**spec: Any) -> facts.Service:
    status = spec.pop("status", {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})
    labels = spec.pop("labels", {})
    usual = {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}
    return facts.service({"metadata": {"labels": labels}, "spec": {**usual, **spec}, "status": status})


def wished(one: facts.Service, *, proxy: str = "", **spec: Any) -> dict[str, tuple[str, ...]]:
    rule, _ = l2_rules.of({"loadBalancerIPs": True, "externalIPs": True, **spec})
    found = l2_wishes.of(("ns", "web"), one, {"p": rule}, [], proxy)
    return dict(found.addresses) if found else {}


@pytest.mark.parametrize(
    ("spec", "rule", "addresses"),
    [
        ({}, {}, {"192.0.2.1"}),
        ({"externalIPs": ["192.0.2.9"]}, {}, {"192.0.2.1", "192.0.2.9"}),
        ({"externalIPs": ["192.0.2.9"]}, {"loadBalancerIPs": False}, {"192.0.2.9"}),
        ({"externalIPs": ["192.0.2.9"]}, {"externalIPs": False}, {"192.0.2.1"}),
        ({"externalIPs": ["192.0.2.1"]}, {"loadBalancerIPs": False}, {"192.0.2.1"}),
        ({"type": "ClusterIP", "externalIPs": ["192.0.2.9"]}, {}, {"192.0.2.9"}),
        ({"type": "NodePort"}, {}, set()),
        ({"type": "ExternalName"}, {}, set()),
        ({"loadBalancerClass": "io.cilium/l2-announcer"}, {}, {"192.0.2.1"}),
        ({"loadBalancerClass": "io.cilium/bgp-control-plane"}, {}, set()),
        ({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "Proxy"}]}}}, {}, set()),
        ({"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}]}}}, {}, set()),
        ({"status": {}}, {}, set()),
        ({"labels": {"service.kubernetes.io/service-proxy-name": "other"}}, {}, set()),
        ({"labels": {"app": "web"}}, {"serviceSelector": {"matchLabels": {"app": "web"}}}, {"192.0.2.1"}),
        ({"labels": {"app": "web"}}, {"serviceSelector": {"matchLabels": {"app": "db"}}}, set()),
        ({}, {"serviceSelector": {"matchLabels": {"io.kubernetes.service.namespace": "ns"}}}, {"192.0.2.1"}),
        ({}, {"serviceSelector": {"matchLabels": {"io.kubernetes.service.name": "db"}}}, set()),
        (
            {"labels": {"io.kubernetes.service.name": "db"}},
            {"serviceSelector": {"matchLabels": {"io.kubernetes.service.name": "db"}}},
            set(),
        ),
        ({}, {"serviceSelector": {}}, {"192.0.2.1"}),
        ({}, {"serviceSelector": BAD}, set()),
    ],
)
def test_what_of_a_service_is_announced(spec: dict[str, Any], rule: dict[str, Any], addresses: set[str]) -> None:
    assert wished(service(**spec), **rule).keys() == addresses


def test_both_families_in_one_spelling() -> None:
    ingress = [{"ip": "192.0.2.1"}, {"ip": "2001:DB8::0:1"}]
    one = service(clusterIPs=["10.96.0.1", "fd00::1"], status={"loadBalancer": {"ingress": ingress}})
    assert wished(one).keys() == {"192.0.2.1", "2001:db8::1"}


def node(*up: str, labels: dict[str, str] | None = None, **state: bool) -> Node:
    return Node(labels or {}, **{"cordoned": False, "alive": True, **state}, up=frozenset(up))


def test_which_nodes_a_rule_reaches() -> None:
    nodes = {
        "plain": node("eth0"),
        "lan": node("eth0", labels={"pool": "lan"}),
        "down": node("lo1"),
        "dead": node("eth0", alive=False),
        "cordoned": node("eth0", cordoned=True),
    }
    rules = {
        "all": Rule(),
        "lan": l2_rules.of({"nodeSelector": {"matchLabels": {"pool": "lan"}}})[0],
        "eth": Rule(interfaces=("^eth",)),
        "nothing": Rule(interfaces=None),
        "nowhere": Rule(nodes=None),
    }
    reach = l2_reach.of(rules, nodes, fresh=nodes.keys() - {"dead"})
    assert reach.usable["all"] == nodes.keys() - {"dead"}
    assert reach.usable["lan"] == {"lan"}
    assert reach.usable["eth"] == nodes.keys() - {"dead", "down"}
    assert reach.usable["nothing"] == reach.usable["nowhere"] == reach.selected["nothing"] == frozenset()
    assert reach.selected["eth"] == nodes.keys()
    assert reach.fresh == nodes.keys() - {"dead"}
    assert reach.cordoned == {"cordoned"}


NODES = st.sampled_from(
    [
        node(*up, labels={"pool": pool}, cordoned=cordoned, alive=alive)
        for pool, cordoned, alive in itertools.product(("lan", "wan"), (True, False), (True, False))
        for up in ((), ("eth0",), ("wlan0",))
    ]
)
LAN = l2_rules.of({"nodeSelector": {"matchLabels": {"pool": "lan"}}})[0].nodes
RULES = st.sampled_from(
    [Rule(nodes, interfaces=some) for nodes in (None, Rule().nodes, LAN) for some in (None, (), ("^eth",))]
)
STATES = st.tuples(
    st.fixed_dictionaries({}, optional=dict.fromkeys("pq", RULES)),
    st.fixed_dictionaries({}, optional=dict.fromkeys("abc", NODES)),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STATES, STATES, st.sets(st.sampled_from("abc")))
def test_what_is_reached_after_a_change_is_what_it_would_be_anew(before: Any, after: Any, fresh: set[str]) -> None:
    (rules, nodes), (new_rules, new_nodes) = before, after
    found = l2_reach.renewed(
        l2_reach.of(rules, nodes),
        new_rules,
        new_nodes,
        fresh,
        changed={name for name in rules.keys() | new_rules if rules.get(name) != new_rules.get(name)},
        moved={name for name in nodes.keys() | new_nodes if nodes.get(name) != new_nodes.get(name)},
    )
    assert found == l2_reach.of(new_rules, new_nodes, fresh)


def test_addresses_stand_together_where_they_are_announced_on_the_same_devices() -> None:
    rules = {"lb": Rule(interfaces=("^eth",)), "more": Rule(interfaces=("^bond",)), "all": Rule(), "far": Rule()}
    reach = l2_reach.Reach(
        {"lb": frozenset("n"), "more": frozenset("n"), "all": frozenset("n"), "far": frozenset()}, {}
    )
    asked = {
        "192.0.2.1": ("lb",),
        "192.0.2.2": ("lb", "more"),
        "192.0.2.3": ("lb",),
        "192.0.2.4": ("all", "lb"),
        "192.0.2.5": ("far",),
    }
    found = l2_lists.together(l2_wishes.Wish(asked), "n", reach, rules)
    assert l2_lists.entries(("ns", "web"), found) == [
        {"namespace": "ns", "name": "web", "addresses": ["192.0.2.4"]},
        {"namespace": "ns", "name": "web", "addresses": ["192.0.2.2"], "interfaces": ["^bond", "^eth"]},
        {"namespace": "ns", "name": "web", "addresses": ["192.0.2.1", "192.0.2.3"], "interfaces": ["^eth"]},
    ]
