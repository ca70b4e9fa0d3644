"""Rules in, compiled rules and problems out; and whatever comes in, nothing is opened that was not allowed."""

import pathlib
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from seta_crds import names
from seta_operator.services import compiler, problems, unsupported, wanted
from seta_operator.services.compiler import Compiled

TABLE = yaml.safe_load(pathlib.Path(__file__).with_name("compiler.yaml").read_text())
SELECTOR = {"endpointSelector": {"matchLabels": {"app": "a"}}}
SUBJECT = "any:app=a,k8s:io.kubernetes.pod.namespace=ns"


def readable(compiled: Compiled) -> list[dict[str, Any]]:
    """Compiled rules with the selectors' texts instead of the sets' names."""
    text = {name: selector.text for name, selector in compiled.selectors.items()}
    found = []
    for rule in compiled.rules:
        directions = {
            direction: {
                **rule[direction],
                "entries": [
                    {**one, **({"peers": sorted(text[name] for name in one["peers"])} if "peers" in one else {})}
                    for one in rule[direction]["entries"]
                ],
            }
            for direction in ("ingress", "egress")
            if direction in rule
        }
        found.append({"subject": text[rule["subject"]], **directions})
    return found


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case["name"])
def test_table(case: dict[str, Any]) -> None:
    compiled = compiler.compile_policy("ns", SELECTOR | case["in"], None)
    expected = {direction: case[direction] for direction in ("ingress", "egress") if direction in case}
    assert readable(compiled) == [{"subject": SUBJECT, **expected}]
    sentences = [problem.sentence for problem in compiled.problems]
    if case.get("unreadable"):
        assert len(sentences) == 1
        assert "cannot be read" in sentences[0]
    else:
        assert sentences == case.get("problems", [])


def test_spec_and_specs_keep_their_places() -> None:
    rule = SELECTOR | {"ingress": [{"fromEndpoints": [{}]}]}
    compiled = compiler.compile_policy("ns", rule, [rule, rule])
    origins = [rule["ingress"]["entries"][0]["origin"] for rule in compiled.rules]
    assert origins == ["spec.ingress[0]", "specs[0].ingress[0]", "specs[1].ingress[0]"]


def test_a_clusterwide_selector_is_of_every_namespace_and_of_no_reserved_identity() -> None:
    rule = SELECTOR | {"ingress": [{"fromEndpoints": [{}, {"matchLabels": {"reserved:host": ""}}]}]}
    assert readable(compiler.compile_policy("", rule, None)) == [
        {
            "subject": "any:app=a,k8s:io.kubernetes.pod.namespace",
            "ingress": {
                "defaultDeny": True,
                "entries": [
                    {
                        "origin": "spec.ingress[0]",
                        "action": "Allow",
                        "peers": ["k8s:io.kubernetes.pod.namespace", "reserved:host="],
                    }
                ],
            },
        }
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
    assert bool(rule["ingress"]["entries"]) == (not problem)
    assert problem in "".join(one.sentence for one in compiled.problems)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"nodeSelector": {}, "ingress": [{}]}, "spec.nodeSelector is not supported yet"),
        ({"ingress": [{}]}, "spec must have an endpointSelector"),
        (SELECTOR, "spec must have at least one of ingress, ingressDeny, egress, egressDeny"),
    ],
)
def test_rules_that_select_or_say_nothing(spec: Any, sentence: str) -> None:
    compiled = compiler.compile_policy("ns", spec, None)
    assert [one.sentence for one in compiled.problems] == [sentence]
    assert all(not direction for rule in compiled.rules for direction in (rule.get("ingress"), rule.get("egress")))


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
    assert all(rule["subject"] in compiled.selectors for rule in compiled.rules)


@pytest.mark.parametrize("model", unsupported.SUPPORTED, ids=lambda model: model.__name__)
def test_the_list_of_supported_fields_names_fields(model: Any) -> None:
    assert unsupported.SUPPORTED[model] <= model.model_fields.keys()


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
        assert problems.merged([{"type": "Valid", "status": "False"}, other], valid) == [other, valid]


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
