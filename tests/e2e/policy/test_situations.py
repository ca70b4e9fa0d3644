"""The whole matrix after each step of each situation: the wire does what the reference evaluator expects.

The first matrix of a run is that of no policy at all."""

import pytest

from tests.e2e.policy import matrix, situations
from tests.e2e.policy.ground import Ground
from tests.e2e.policy.situations import Situation

SITUATIONS = situations.read()


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.says)
def test_the_wire_does_what_the_documents_say(ground: Ground, situation: Situation):
    before = dict.fromkeys(matrix.flows(), True)
    for step in situation.steps:
        ground.become([*step.objects, *step.policies], step.labels)
        wanted = matrix.expected(ground, step.policies)
        assert (wanted == before) == step.harmless, f"{step.says} That changes something, or is harmless: true."
        before = wanted
        wrong = matrix.settled(ground, wanted)
        assert not wrong, f"{step.says}\n{wrong}"


def test_there_are_enough_situations_and_no_two_say_the_same():
    assert len({situation.says for situation in SITUATIONS}) == len(SITUATIONS)
    assert len(SITUATIONS) >= 60
