"""The generator draws what is valid and worth asking about: it finds planted faults, and laws hold over what it draws.

A comparison is worth what its generator finds: every fault in `faults` must be noticed.
"""

import dataclasses
import typing

import hypothesis
import pytest
import yaml

from tests.policy import catalogue, comparison, faults, generate
from tests.policy.generate import Situation
from tests.policy.reference import evaluate, peers
from tests.policy.reference.flows import Flow, Manifest, Settings, Verdict

MANY = hypothesis.settings(comparison.STEADY, max_examples=60)
SITUATIONS = 2000  # in which every fault must show


def reference(objects: list[Manifest], policies: list[Manifest], flow: Flow, settings: Settings) -> Verdict:
    return evaluate.evaluate(objects, policies, flow, settings)


# --- what is drawn ---------------------------------------------------------------------------------------------------


@MANY
@hypothesis.given(generate.situations(beyond=True))
def test_policies_are_valid(situation: Situation) -> None:
    for policy in situation.policies:
        if policy["kind"] != "NetworkPolicy":
            for rule in [policy["spec"]] if "spec" in policy else policy["specs"]:
                _valid(policy, rule)


def _valid(policy: Manifest, rule: Manifest) -> None:
    assert ("endpointSelector" in rule) != ("nodeSelector" in rule)
    assert "nodeSelector" not in rule or policy["kind"] == "CiliumClusterwideNetworkPolicy"
    items = [item for section in ("ingress", "ingressDeny", "egress", "egressDeny") for item in rule.get(section, [])]
    assert items
    for item in items:
        assert len(peers.named(item)) <= 1
        assert not ("toPorts" in item and "icmps" in item)
        for port in (port for each in item.get("toPorts", []) for port in each["ports"]):
            assert "endPort" not in port or int(port["port"]) <= port["endPort"]


@MANY
@hypothesis.given(generate.situations())
def test_a_situation_survives_being_written_down_as_a_case(situation: Situation) -> None:
    verdicts = {str(flow): str(reference(situation.objects, situation.policies, flow, situation.settings))
                for flow in situation.flows if not flow.node_address}  # fmt: skip
    read = catalogue.case(yaml.safe_load(generate.as_case(situation, "x", verdicts))[0])
    assert {
        flow: str(reference(read.objects, read.policies, Flow.parse(flow), read.settings)) for flow in read.flows
    } == verdicts


# --- laws ------------------------------------------------------------------------------------------------------------


@MANY
@hypothesis.given(generate.situations(beyond=True))
def test_the_order_of_policies_does_not_matter(situation: Situation) -> None:
    for flow in situation.flows:
        one = reference(situation.objects, situation.policies, flow, situation.settings)
        assert one == reference(situation.objects[::-1], situation.policies[::-1], flow, situation.settings)


@MANY
@hypothesis.given(generate.situations(beyond=True))
def test_without_policies_everything_is_allowed(situation: Situation) -> None:
    for flow in situation.flows:
        assert reference(situation.objects, [], flow, Settings()).allowed


@MANY
@hypothesis.given(generate.situations(beyond=True))
def test_an_allow_that_closes_nothing_takes_nothing_away(situation: Situation) -> None:
    extra = _everywhere({"ingress": [{"fromEntities": ["all"]}], "egress": [{"toEntities": ["all"]}]})
    for flow in situation.flows:
        before = reference(situation.objects, situation.policies, flow, situation.settings)
        after = reference(situation.objects, [*situation.policies, *extra], flow, situation.settings)
        assert after.allowed or not before.allowed


@MANY
@hypothesis.given(generate.situations(beyond=True))
def test_a_deny_gives_nothing(situation: Situation) -> None:
    extra = _everywhere({"ingressDeny": [{"fromEntities": ["world"]}], "egressDeny": [{"toEntities": ["world"]}]})
    for flow in situation.flows:
        before = reference(situation.objects, situation.policies, flow, situation.settings)
        after = reference(situation.objects, [*situation.policies, *extra], flow, situation.settings)
        assert before.allowed or not after.allowed


def _everywhere(sections: Manifest) -> list[Manifest]:
    """A policy for all pods and one for all nodes, neither closing anything."""
    off = {"enableDefaultDeny": {"ingress": False, "egress": False}}
    return [
        catalogue.policy(f"ccnp extra-{subject.lower()}", {subject: {}, **off, **sections})
        for subject in ("endpointSelector", "nodeSelector")
    ]


@MANY
@hypothesis.given(generate.situations(beyond=True))
def test_specs_are_as_good_as_policies_of_their_own(situation: Situation) -> None:
    apart = [one for policy in situation.policies for one in _apart(policy)]
    for flow in situation.flows:
        together = reference(situation.objects, situation.policies, flow, situation.settings)
        assert str(together) == str(reference(situation.objects, apart, flow, situation.settings))


def _apart(policy: Manifest) -> list[Manifest]:
    rest = {key: value for key, value in policy.items() if key != "specs"}
    return [{**rest, "spec": spec} for spec in policy["specs"]] if "specs" in policy else [policy]


@MANY
@hypothesis.given(generate.situations())
def test_an_address_is_as_good_as_the_name_of_the_pod_that_has_it(situation: Situation) -> None:
    addresses = {
        f"{each['metadata']['namespace']}/{each['metadata']['name']}": each["status"]["podIP"]
        for each in situation.objects
        if each["kind"] == "Pod"
    }
    for flow in situation.flows:
        ends = {"source": addresses.get(flow.source, flow.source)}
        ends["destination"] = addresses.get(flow.destination, flow.destination)
        by_address = dataclasses.replace(flow, **ends)
        one, other = (
            reference(situation.objects, situation.policies, each, situation.settings) for each in (flow, by_address)
        )
        assert one == other


# --- planted faults --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noticed() -> set[str]:
    """The faults that the comparison notices in the first situations that are drawn."""
    found: set[str] = set()
    for seed in range(SITUATIONS):
        missing = set(faults.FAULTS) - found
        if not missing:
            break
        situation = generate.from_seed(seed, beyond=True)
        right = _verdicts(situation)
        for fault in missing:
            with faults.planted(fault):
                found |= {fault} if _verdicts(situation) != right else set()
    return found


def _verdicts(situation: Situation) -> list[str]:
    asked = [(situation.objects, situation.policies, flow, situation.settings) for flow in situation.flows]
    return [str(reference(*each)) for each in asked]


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_a_comparison_notices_that(fault: str, noticed: set[str]) -> None:
    assert fault in noticed


@MANY
@hypothesis.given(generate.situations(beyond=True))
def test_the_comparison_has_nothing_to_say_about_the_reference_itself(situation: Situation) -> None:
    comparison.agree(reference, situation, reasons=True)


def test_a_difference_is_told_by_the_smallest_situation_that_shows_it() -> None:
    def compile_and_lookup(*asked: typing.Any) -> Verdict:
        with faults.planted("deny loses to allow"):
            return reference(*asked)

    def compare_many() -> None:
        for seed in range(SITUATIONS):
            comparison.agree(compile_and_lookup, generate.from_seed(seed))

    with pytest.raises(AssertionError) as told:
        compare_many()
    text = str(told.value)
    case = catalogue.case(yaml.safe_load(text[text.index("- says:") :])[0])
    assert len(case.flows) == 1
    assert len(case.policies) <= 2
    assert len(case.objects) <= 4


def test_a_difference_is_told_as_a_case() -> None:
    situation = Situation(
        objects=list(catalogue.cluster()),
        policies=[catalogue.policy("cnp shop/p", {"endpointSelector": {}, "ingress": [{}]})],
        settings=Settings(),
        flows=[Flow.parse("lab/web -> shop/api 80/TCP")],
    )
    with pytest.raises(AssertionError) as told:
        comparison.agree(lambda objects, _, flow, settings: reference(objects, [], flow, settings), situation)
    text = str(told.value)
    assert "the reference says denied ingress, the compiler allowed" in text
    case = catalogue.case(yaml.safe_load(text[text.index("- says:") :])[0])
    assert case.flows == {"lab/web -> shop/api 80/TCP": "denied ingress"}
