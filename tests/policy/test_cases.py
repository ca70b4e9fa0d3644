"""The reference evaluator against the documents: every case of cases/ is a situation that they describe."""

import typing

import pytest

from tests.policy import catalogue
from tests.policy.catalogue import Case
from tests.policy.reference import evaluate
from tests.policy.reference.flows import Decision, Flow, Reason

CASES = catalogue.cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_the_evaluator_says_what_the_documents_say(case: Case) -> None:
    found = {
        flow: str(evaluate.evaluate(case.objects, case.policies, Flow.parse(flow), case.settings))
        for flow in case.flows
    }
    assert found == case.flows


@pytest.mark.parametrize("case", [case for case in CASES if case.because], ids=lambda case: case.says)
def test_the_evaluator_names_what_decided(case: Case) -> None:
    for flow, expected in case.because.items():
        verdict = evaluate.evaluate(case.objects, case.policies, Flow.parse(flow), case.settings)
        for direction, wanted in expected.items():
            assert _described(getattr(verdict, direction), wanted) == wanted, flow


def _described(decision: Decision, wanted: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """The decision in the words of a case; only what the case speaks of."""
    all_of_it = {
        "reason": decision.reason.name,
        "rules": [str(rule) for rule in decision.rules],
        "default_deny": [str(policy) for policy in decision.default_deny],
    }
    return {key: all_of_it[key] for key in wanted}


def test_there_is_a_case_for_every_reason() -> None:
    verdicts = [
        evaluate.evaluate(case.objects, case.policies, Flow.parse(flow), case.settings)
        for case in CASES
        for flow in case.flows
    ]
    assert {side.reason for verdict in verdicts for side in (verdict.egress, verdict.ingress)} == set(Reason)


def test_no_two_cases_say_the_same() -> None:
    assert len({case.says for case in CASES}) == len(CASES) >= 80
