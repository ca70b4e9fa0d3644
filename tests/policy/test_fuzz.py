"""Whatever comes in: the models refuse it by ValidationError, the compiler by problems, and neither by anything else.

Other policies in every run; a failure prints how to have it again. What the compiler then writes is always something
that the resource's model and the agents take, and fails closed.
"""

import random
import typing

import hypothesis
import pydantic
import pytest
from hypothesis import strategies as st

from seta_agent.watch import policies as read_policies
from seta_crds.cidrgroup import CiliumCIDRGroup
from seta_crds.compiledpolicy import CompiledPolicySpec
from seta_crds.networkpolicy import CiliumClusterwideNetworkPolicy, CiliumNetworkPolicy
from seta_operator.services import compile_networkpolicy, compiler
from seta_operator.services.compiled import Compiled
from tests.policy import generate, mutate
from tests.policy.reference.flows import Manifest

BOUNDED = hypothesis.settings(
    max_examples=1500, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
MODELS = {
    "CiliumNetworkPolicy": CiliumNetworkPolicy,
    "CiliumClusterwideNetworkPolicy": CiliumClusterwideNetworkPolicy,
}
seeds = st.integers(0, 2**32)


def damaged(seed: int) -> Manifest:
    chance = random.Random(seed)
    policies = generate.from_seed(chance.randrange(20_000), beyond=True, most_flows=1).policies
    return mutate.mutated(chance.choice(policies), chance)


def compiled(policy: Manifest) -> Compiled:
    namespace = policy["metadata"].get("namespace", "")
    if policy["kind"] == "NetworkPolicy":
        return compile_networkpolicy.compile_policy(namespace, policy.get("spec"))
    return compiler.compile_policy(namespace, policy.get("spec"), policy.get("specs"), host_firewall=True)


@BOUNDED
@hypothesis.given(seeds)
def test_the_models_refuse_by_validation_errors_only(seed: int) -> None:
    policy = damaged(seed)
    if model := MODELS.get(policy["kind"]):
        _refused_at_most(model, policy)
    _refused_at_most(CiliumCIDRGroup, {**policy, "spec": {"externalCIDRs": policy.get("spec")}})


def _refused_at_most(model: type[pydantic.BaseModel], body: Manifest) -> None:
    try:
        read = model.model_validate(body)
    except pydantic.ValidationError:
        pass
    else:
        assert model.model_validate(read.model_dump(mode="json", by_alias=True, exclude_unset=True)) == read


@BOUNDED
@hypothesis.example(2793225)  # a set that only a closed direction named
@hypothesis.example(2142)  # a host rule that cannot be read, beside one that can
@hypothesis.given(seeds)
def test_the_compiler_refuses_by_problems_only(seed: int) -> None:
    policy = damaged(seed)
    result = compiled(policy)
    for problem in result.problems:
        assert problem.path.startswith("spec")
        assert problem.wrong
    _is_taken(result)
    _fails_closed(result, alone="specs" not in policy)


def _is_taken(result: Compiled) -> None:
    """By the CRD's model and by the agents' reader; every set that a rule names is said what it is of."""
    source = {"kind": "CiliumNetworkPolicy", "name": "p"}
    spec = {"source": source, "rules": result.rules}
    CompiledPolicySpec.model_validate(spec)
    row = read_policies.policy({"metadata": {"name": "cnp.p"}, "spec": spec})
    directions = [one for rule in row.rules for one in (rule.ingress, rule.egress) if one is not None]
    named = {name for one in directions for entry in one.entries for name in entry.peers or ()}
    named |= {rule.subject for rule in row.rules if rule.nodes is None}
    assert named == set(result.specs)
    assert len({spec.text for spec in result.specs.values()}) == len(result.specs)


def _fails_closed(result: Compiled, *, alone: bool) -> None:
    """No entry that has a fault allows anything, and its direction closes. alone: there is one rule at most."""
    faults = [problem.path for problem in result.problems if not problem.beyond]
    for rule in result.rules:
        for direction in ("ingress", "egress"):
            for entry in rule.get(direction, {}).get("entries", ()):
                if any(_is_within(path, entry["origin"]) for path in faults) and "Deny[" not in entry["origin"]:
                    pytest.fail(f"{entry} has a fault and is there: {faults}")
            if any(path.startswith(f"spec.{direction}[") for path in faults) and direction in rule and alone:
                assert rule[direction]["defaultDeny"]


def _is_within(path: str, origin: str) -> bool:
    return path == origin or path.startswith(f"{origin}.")


def test_the_fuzz_reaches_what_it_is_for() -> None:
    """Some of the damaged policies are still right, some have problems of single fields, some cannot be read."""
    kinds: set[str] = set()
    for seed in range(400):
        problems = compiled(damaged(seed)).problems
        kinds.add("right" if not problems else "unreadable" if "cannot be read" in problems[0].wrong else "faulty")
    assert kinds == {"right", "unreadable", "faulty"}


def test_values_of_every_type_stand_for_a_whole_rule() -> None:
    values: tuple[typing.Any, ...] = (None, 0, "", "x", [], {}, [1], {"a": 1}, True, 1.5)
    for value in values:
        for namespace in ("", "ns"):
            assert isinstance(compiler.compile_policy(namespace, value, value), Compiled)
            assert isinstance(compiler.compile_policy(namespace, None, [value]), Compiled)
        assert isinstance(compile_networkpolicy.compile_policy("ns", value), Compiled)
