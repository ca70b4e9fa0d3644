"""Rules in, compiled rules and problems out; and whatever comes in, nothing is opened that was not allowed."""

import pathlib
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from seta_crds import conditions, names
from seta_operator.services import compile_networkpolicy, compiler, problems, wanted
from seta_operator.services.compiled import Compiled
from tests.unit.operator.compiled_text import readable

TABLES = pathlib.Path(__file__).with_name("compiled")
RULES = [
    case
    for name in ("rules", "peers", "traffic", "faults")
    for case in yaml.safe_load((TABLES / f"{name}.yaml").read_text())
]
NETWORK_POLICIES = yaml.safe_load((TABLES / "networkpolicies.yaml").read_text())
DIRECTIONS = ("ingress", "ingressOpen", "egress", "egressOpen")
SELECTOR = {"endpointSelector": {"matchLabels": {"app": "a"}}}
SUBJECT = "any:app=a,k8s:io.kubernetes.pod.namespace=ns"
OWN = "k8s:io.kubernetes.pod.namespace=ns"


def judge(case: dict[str, Any], compiled: Compiled) -> None:
    expected = {direction: case[direction] for direction in DIRECTIONS if direction in case}
    assert readable(compiled) == [{"subject": case.get("subject", SUBJECT), **expected}]
    sentences = [problem.sentence for problem in compiled.problems]
    if case.get("unreadable"):
        assert len(sentences) == 1
        assert "cannot be read" in sentences[0]
    else:
        assert sentences == case.get("problems", [])


@pytest.mark.parametrize("case", RULES, ids=lambda case: case["name"])
def test_rules(case: dict[str, Any]) -> None:
    judge(case, compiler.compile_policy("ns", SELECTOR | case["in"], None))


@pytest.mark.parametrize("case", NETWORK_POLICIES, ids=lambda case: case["name"])
def test_network_policies(case: dict[str, Any]) -> None:
    judge(case, compile_networkpolicy.compile_policy("ns", case["in"]))


def test_spec_and_specs_keep_their_places() -> None:
    rule = SELECTOR | {"ingress": [{"fromEndpoints": [{}]}]}
    compiled = compiler.compile_policy("ns", rule, [rule, rule])
    lines = [rule["ingress"] for rule in readable(compiled)]
    assert lines == [[f"Allow {one}.ingress[0]: {OWN}, all traffic"] for one in ("spec", "specs[0]", "specs[1]")]


def test_a_clusterwide_selector_is_of_every_namespace_and_of_no_reserved_identity() -> None:
    no_team = {"matchExpressions": [{"key": "io.cilium.k8s.namespace.labels.team", "operator": "DoesNotExist"}]}
    rule = SELECTOR | {"ingress": [{"fromEndpoints": [{}, {"matchLabels": {"reserved:host": ""}}, no_team]}]}
    everywhere = "k8s:io.kubernetes.pod.namespace"
    peers = f"!any:io.cilium.k8s.namespace.labels.team,{everywhere} + {everywhere} + reserved:host="
    assert readable(compiler.compile_policy("", rule, None)) == [
        {"subject": f"any:app=a,{everywhere}", "ingress": [f"Allow spec.ingress[0]: {peers}, all traffic"]}
    ]


@pytest.mark.parametrize(
    ("selector", "subject", "problem"),
    [
        ({"matchLabels": {"io.kubernetes.pod.namespace": "ns"}}, "k8s:io.kubernetes.pod.namespace=ns", ""),
        ({"matchLabels": {"k8s:io.kubernetes.pod.namespace": "x"}}, "k8s:io.kubernetes.pod.namespace=ns", "another"),
        ({"matchLabels": {"cow:app": "x"}}, "k8s:io.kubernetes.pod.namespace=ns", 'source "cow"'),
        (
            {"matchExpressions": [{"key": "io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["ns"]}]},
            "k8s:io.kubernetes.pod.namespace=ns",
            "another",
        ),
        (
            {"matchExpressions": [{"key": "a", "operator": "In"}], "matchLabels": {"b": "c"}},
            "any:b=c,k8s:io.kubernetes.pod.namespace=ns",
            "wants at least one value",
        ),
    ],
)
def test_a_subject_stays_in_its_namespace(selector: Any, subject: str, problem: str) -> None:
    compiled = compiler.compile_policy("ns", {"endpointSelector": selector, "ingress": [{"fromEndpoints": [{}]}]}, None)
    (rule,) = readable(compiled)
    assert rule["subject"] == subject
    assert bool(rule["ingress"]) == (not problem)
    assert problem in "".join(one.sentence for one in compiled.problems)


@pytest.mark.parametrize(
    ("namespace", "spec", "sentence"),
    [
        ("ns", {"nodeSelector": {}, "ingress": [{}]}, "spec rule cannot have NodeSelector: use a CiliumClusterwide"),
        ("", {"nodeSelector": {}, "ingress": [{}]}, "spec.nodeSelector needs host policies, which are switched off"),
        ("", {"nodeSelector": {"matchLabels": []}, "ingress": [{}]}, "spec.nodeSelector.matchLabels cannot be read"),
        ("ns", {"ingress": [{}]}, "spec must have an endpointSelector"),
        ("ns", SELECTOR, "spec must have at least one of ingress, ingressDeny, egress, egressDeny"),
    ],
)
def test_rules_that_select_or_say_nothing(namespace: str, spec: Any, sentence: str) -> None:
    compiled = compiler.compile_policy(namespace, spec, None)
    (problem,) = compiled.problems
    assert problem.sentence.startswith(sentence)
    assert all(not direction for rule in compiled.rules for direction in (rule.get("ingress"), rule.get("egress")))


def test_a_host_policy_names_the_nodes_it_is_about() -> None:
    host = {"nodeSelector": {"matchLabels": {"pool": "fast"}}, "ingress": [{"fromEntities": ["cluster"]}]}
    compiled = compiler.compile_policy("", SELECTOR | {"ingress": [{}]}, [host], host_firewall=True)
    assert not compiled.problems
    assert {place: selector.text for place, selector in compiled.nodes.items()} == {1: "any:pool=fast"}
    assert readable(compiled)[1] == {
        "nodes": [],
        "ingress": ["Allow specs[0].ingress[0]: entity:cluster, all traffic"],
    }


def test_a_host_policy_whose_selector_cannot_be_meant_closes_no_node() -> None:
    host = {"nodeSelector": {"matchLabels": {"a b": "c"}}, "ingress": [{}]}
    compiled = compiler.compile_policy("", host, None, host_firewall=True)
    assert not compiled.rules
    told = [problem.sentence for problem in compiled.problems]
    assert told == ['spec.nodeSelector.matchLabels is no selector: "a b" is no label key']


def test_a_rule_of_endpoints_and_nodes_at_once_is_closed() -> None:
    rule = SELECTOR | {"nodeSelector": {}, "ingress": [{"fromEntities": ["all"]}]}
    compiled = compiler.compile_policy("", rule, None, host_firewall=True)
    assert [readable(compiled)[0]["ingress"], len(compiled.problems)] == [[], 1]


def test_a_log_goes_with_its_rule() -> None:
    rule = SELECTOR | {"ingress": [{}], "log": {"value": "why"}}
    assert [one["log"] for one in compiler.compile_policy("ns", rule, None).rules] == ["why"]


SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-1, 70000), st.text(max_size=8))
JSON = st.one_of(SCALAR, st.lists(SCALAR, max_size=2), st.dictionaries(st.text(max_size=8), SCALAR, max_size=2))
FIELDS = [
    "endpointSelector",
    "ingress",
    "egress",
    "ingressDeny",
    "egressDeny",
    "nodeSelector",
    "enableDefaultDeny",
    "log",
]
INNER = [
    "fromEndpoints",
    "toEndpoints",
    "toPorts",
    "fromCIDR",
    "toFQDNs",
    "icmps",
    "matchLabels",
    "ports",
    "port",
    "rules",
]


@given(
    st.dictionaries(
        st.sampled_from(FIELDS),
        st.one_of(JSON, st.lists(st.dictionaries(st.sampled_from(INNER), JSON, max_size=3), max_size=2)),
    ),
    JSON,
)
@settings(max_examples=100, deadline=None)
def test_whatever_comes_in_is_compiled_or_refused(spec: Any, specs: Any) -> None:
    compiled = compiler.compile_policy("ns", spec, specs if isinstance(specs, list) else None)
    assert all(one.sentence for one in compiled.problems)
    assert all(rule["subject"] in compiled.specs for rule in compiled.rules)


class TestCondition:
    NOW, THEN = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
    PROBLEM = problems.Problem("spec.log", "is not supported yet")

    def test_valid(self) -> None:
        assert problems.condition([], 2, [], self.NOW) == {
            "type": "Valid",
            "status": "True",
            "lastTransitionTime": self.NOW,
            "reason": "Compiled",
            "message": "2 rules compiled",
        }

    def test_the_time_is_of_the_last_change_of_status(self) -> None:
        before = [problems.condition([self.PROBLEM], 1, [], self.THEN)]
        assert problems.condition([self.PROBLEM, self.PROBLEM], 1, before, self.NOW)["lastTransitionTime"] == self.THEN
        assert problems.condition([], 1, before, self.NOW)["lastTransitionTime"] == self.NOW

    def test_a_long_list_is_cut(self) -> None:
        told = problems.condition([self.PROBLEM] * 7, 1, [], self.NOW)["message"]
        assert told.count("spec.log") == 5
        assert "; and 2 more. Remove or correct it; until then the rule allows nothing there" in told

    def test_what_protects_nothing_does_not_claim_to(self) -> None:
        assert problems.condition([self.PROBLEM], 0, [], self.NOW)["message"].endswith("nothing of it is enforced.")

    def test_other_conditions_are_kept(self) -> None:
        other, valid = {"type": "Enforced", "status": "True"}, problems.condition([], 1, [], self.NOW)
        assert conditions.merged([{"type": "Valid", "status": "False"}, other], [valid]) == [valid, other]


@pytest.mark.parametrize(
    ("kind", "key", "name"),
    [
        (names.NETWORK_POLICY, ("ns", "p"), "cnp.ns.p"),
        (names.CLUSTERWIDE_NETWORK_POLICY, ("", "p"), "ccnp.p"),
        (names.CLUSTERWIDE_NETWORK_POLICY, ("", "p" * 248), "ccnp." + "p" * 248),
    ],
)
def test_names(kind: names.Kind, key: tuple[str, str], name: str) -> None:
    assert wanted.policy_name(kind, key) == name


def test_long_names_are_cut_and_stay_apart() -> None:
    one, two = (wanted.policy_name(names.NETWORK_POLICY, ("ns", "p" * 252 + last)) for last in "ab")
    assert len(one) == len(two) == 253
    assert one != two
