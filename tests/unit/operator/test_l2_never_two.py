"""Whatever happens, in whatever order: no two nodes ever answer for one address. And the test would notice."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import structlog
from hypothesis.stateful import run_state_machine_as_test

from seta_operator.services.l2_announcer import Announcer
from seta_operator.services.l2_exposure import Exposure
from seta_operator.services.l2_liveness import Liveness
from tests.unit.operator.l2_chaos import Chaos

pytestmark = pytest.mark.usefixtures("_quiet")


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Thousands of runs log nothing."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


STEADY = hypothesis.settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)


def test_no_two_nodes_ever_answer() -> None:
    run_state_machine_as_test(Chaos, settings=STEADY)


def _impatient(it: Liveness, now: float) -> list[str]:
    """Silent sooner than agents stop to answer."""
    return sorted(name for name, pulse in it._pulses.items() if not pulse.dead and now - pulse.since >= 1)


async def _nothing(_it: Announcer) -> bool:
    return True


MISTAKES: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "gives without a proof": (Exposure, "free", lambda *_: True),
    "believes every report": (Exposure, "reported", lambda self, node, *_: self.cleared(node)),
    "believes its watch at the start": (Announcer, "catch_up", _nothing),
    "is impatient": (Liveness, "silent", _impatient),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_it_would_be_noticed(mistake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*mistake)
    unshrunk = hypothesis.settings(
        STEADY, max_examples=2000, phases=[hypothesis.Phase.generate], report_multiple_bugs=False
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Chaos, settings=unshrunk)
