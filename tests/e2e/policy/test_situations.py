"""The whole matrix after each step of each situation: the wire does what the reference evaluator expects.

The first matrix of a run is that of no policy at all."""

import pytest

from tests.e2e.policy import matrix, situations
from tests.e2e.policy.ground import Ground
from tests.e2e.policy.situations import Situation, Step
from tests.policy.reference.flows import Settings

SITUATIONS = situations.read()


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.says)
def test_the_wire_does_what_the_documents_say(ground: Ground, situation: Situation):
    for step in situation.steps:
        wanted = wanted_after(ground, step)
        wrong = matrix.settled(ground, wanted)
        assert not wrong, f"{step.says}\n{wrong}"


def wanted_after(ground: Ground, step: Step) -> matrix.Matrix:
    """Applies a step. What the reference expects then, of the objects as the API server has them."""
    ground.become([*step.objects, *step.policies], step.labels)
    return matrix.expected(ground.objects(), step.policies, Settings())


def test_there_are_enough_situations_and_no_two_say_the_same():
    assert len({situation.says for situation in SITUATIONS}) == len(SITUATIONS)
    assert len(SITUATIONS) >= 60
