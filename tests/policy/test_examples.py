"""The policies of examples/policies do what their comments claim, and between them use every field of the language."""

import typing

import pytest

from tests.policy import catalogue
from tests.policy.catalogue import Case
from tests.policy.reference import evaluate
from tests.policy.reference.flows import Flow

EXAMPLES = catalogue.examples()

# Every field of the L3/L4 language that changes a verdict, or is there for people. Under spec and specs alike.
CILIUM = {
    "endpointSelector", "nodeSelector", "ingress", "ingressDeny", "egress", "egressDeny", "enableDefaultDeny",
    "labels", "description", "log", "fromEndpoints", "toEndpoints", "fromEntities", "toEntities", "fromCIDR",
    "toCIDR", "fromCIDRSet", "toCIDRSet", "cidr", "except", "cidrGroupRef", "cidrGroupSelector", "toServices",
    "k8sService", "serviceName", "namespace", "k8sServiceSelector", "selector", "fromNodes", "toNodes",
    "toPorts", "ports", "port", "endPort", "protocol", "icmps", "fields", "family", "type", "matchLabels",
    "matchExpressions", "key", "operator", "values",
}  # fmt: skip
KUBERNETES = {
    "podSelector", "namespaceSelector", "ipBlock", "cidr", "except", "ports", "port", "endPort", "protocol",
    "policyTypes", "ingress", "egress", "from", "to", "matchLabels", "matchExpressions",
}  # fmt: skip
ENTITIES = {
    "all", "world", "cluster", "host", "remote-node", "kube-apiserver", "init", "unmanaged", "health",
    "ingress", "none",
}  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.source)
def test_an_example_does_what_its_comment_claims(example: Case) -> None:
    found = {
        flow: str(evaluate.evaluate(example.objects, example.policies, Flow.parse(flow))) for flow in example.flows
    }
    assert found == example.flows


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.source)
def test_an_example_says_what_it_is_for_and_what_it_allows_and_denies(example: Case) -> None:
    assert example.says.endswith(".")
    verdicts = {verdict.split()[0] for verdict in example.flows.values()}
    assert verdicts == {"allowed", "denied"}


def test_the_examples_use_every_field_of_ciliums_policies() -> None:
    assert _fields("Cilium") >= CILIUM


def test_the_examples_use_every_field_of_networkpolicy() -> None:
    assert _fields("NetworkPolicy") >= KUBERNETES


def test_the_examples_use_every_entity() -> None:
    named = [_strings(policy) for example in EXAMPLES for policy in example.policies]
    assert set().union(*named) >= ENTITIES


def _fields(kind: str) -> set[str]:
    """All fields in the examples of the kinds that begin so."""
    policies = [policy for example in EXAMPLES for policy in example.policies]
    return set().union(*(_keys(policy) for policy in policies if policy["kind"].startswith(kind)))


def _keys(value: typing.Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_keys(each) for each in value.values()))
    return set().union(*(_keys(each) for each in value)) if isinstance(value, list) else set()


def _strings(value: typing.Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*(_strings(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(_strings(each) for each in value))
    return {value} if isinstance(value, str) else set()
