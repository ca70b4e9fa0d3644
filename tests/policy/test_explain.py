"""`seta policy explain` over random situations, held against the reference evaluator.

It says what the packet meets, names only rules that the evaluator says decided, and what it suggests does allow it and
takes nothing away from anybody else.
"""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.policy import generate, pipeline
from tests.policy.generate import Situation
from tests.policy.reference import evaluate
from tests.policy.reference.flows import Decision, Flow, Manifest, Reason, RuleRef

CHUNK, CHUNKS = 100, 6  # situations by number, in so many tests
FIRST = 50_000  # of other numbers than test_comparison's
NAMING = (Reason.ALLOWED, Reason.DENIED)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_explanations(chunk: int) -> None:
    for seed in range(FIRST + chunk * CHUNK, FIRST + (chunk + 1) * CHUNK):
        situation = generate.from_seed(seed, beyond=True)
        programmed = pipeline.Pipeline(situation.objects, situation.policies, situation.settings)
        for flow in situation.flows:
            if "reserved:" not in str(flow) and not flow.node_address:
                told = programmed.explain(flow)
                assert not wrong(situation, flow, told), f"seed {seed}: {flow}: {told}"


def wrong(situation: Situation, flow: Flow, told: Manifest) -> str:
    """What the explanation says that is not so."""
    expected = evaluate.evaluate(situation.objects, situation.policies, flow, situation.settings)
    if told["verdict"] != ("allowed" if expected.allowed else "denied"):
        return f"the reference says {expected}"
    for side, decision in (("egress", expected.egress), ("ingress", expected.ingress)):
        if said := _wrong_side(decision, told[side]):
            return f"{side}: {said}"
    if not expected.allowed and told["allow"]:
        return _wrong_suggestion(situation, flow, told["allow"])
    return ""


def _wrong_side(decision: Decision, told: Manifest) -> str:
    if (told["verdict"] == "allowed") != decision.allowed:
        return f"the reference says {decision.reason}"
    rules = {(one["policy"], one["rule"]) for one in told["rules"]}
    right = {(_policy(rule), rule.origin) for rule in decision.rules}
    builtin = any(rule.kind == "builtin" for rule in decision.rules)
    if decision.reason in NAMING and not builtin and not (rules and rules <= right):
        return f"decided by {right}"
    closing = {_policy(rule) for rule in decision.default_deny}
    if decision.reason is Reason.DEFAULT_DENY and set(told["default_deny"]) != closing:
        return f"closed by {closing}"
    return ""


def _wrong_suggestion(situation: Situation, flow: Flow, suggested: list[Manifest]) -> str:
    """Applied, it must allow the flow, and take away nothing that passed before."""
    for each in situation.flows:
        before, after = (
            evaluate.evaluate(situation.objects, policies, each, situation.settings)
            for policies in (situation.policies, [*situation.policies, *suggested])
        )
        if each == flow and not after.allowed:
            return f"the suggestion does not allow it: {after}"
        if before.allowed and not after.allowed:
            return f"the suggestion takes {each} away"
    return ""


def _policy(rule: RuleRef) -> str:
    return f"{rule.kind} {rule.namespace + '/' if rule.namespace else ''}{rule.name}"
