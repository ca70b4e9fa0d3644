"""The compiler, the sets, the agent's maps and the datapath's lookup, held against the reference evaluator.

Over random situations: thousands in each run, the same ones every time. What was ever found is kept in
cases/regressions.yaml; the cases and the examples, which people wrote, are asked here as well.
"""

import functools
import json
import logging
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

from tests.policy import catalogue, comparison, generate, pipeline
from tests.policy.catalogue import Case
from tests.policy.comparison import STEADY
from tests.policy.generate import Situation
from tests.policy.reference.flows import Flow, Manifest, Settings, Verdict

WRITTEN = [*catalogue.cases(), *catalogue.examples()]
CHUNK, CHUNKS = 250, 12  # situations by number, in so many tests


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The operator tells of every identity it gives; nobody reads that here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()


@functools.lru_cache(maxsize=4)
def _programmed(situation: str, settings: Settings) -> pipeline.Pipeline:
    objects, policies = json.loads(situation)
    return pipeline.Pipeline(objects, policies, settings)


def compile_and_lookup(objects: list[Manifest], policies: list[Manifest], flow: Flow, settings: Settings) -> Verdict:
    return _programmed(json.dumps([objects, policies]), settings).verdict(flow)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_situations_by_number(chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        comparison.agree(compile_and_lookup, generate.from_seed(seed, beyond=True))


@hypothesis.settings(STEADY, max_examples=250)
@hypothesis.given(generate.situations(beyond=True))
def test_situations_as_hypothesis_draws_them(situation: Situation) -> None:
    comparison.agree(compile_and_lookup, situation)


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.says)
def test_written_situations(case: Case) -> None:
    found = {
        flow: str(compile_and_lookup(case.objects, case.policies, Flow.parse(flow), case.settings))
        for flow in case.flows
    }
    assert found == case.flows
