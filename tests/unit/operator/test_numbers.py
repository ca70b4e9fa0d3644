"""Numbers are given in turn, claimed as they were, and never given twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seta_operator.services.numbers import ExhaustedError, Numbers


def test_in_turn_and_a_returned_number_rests() -> None:
    numbers = Numbers(1, 4)
    assert [numbers.take(), numbers.take()] == [1, 2]
    numbers.release(1)
    assert [numbers.take(), numbers.take(), numbers.take()] == [3, 4, 1]


def test_none_left() -> None:
    numbers = Numbers(1, 2)
    numbers.take()
    numbers.take()
    with pytest.raises(ExhaustedError, match="all 2 numbers from 1 to 2 are taken"):
        numbers.take()


def test_claims() -> None:
    numbers = Numbers(10, 20)
    assert numbers.claim(15)
    assert not numbers.claim(15)
    assert not numbers.claim(9)
    assert not numbers.claim(21)
    assert numbers.take() == 16


@given(st.lists(st.one_of(st.just(None), st.integers(1, 8))))
def test_never_twice(steps: list[int | None]) -> None:
    numbers, taken = Numbers(1, 8), set[int]()
    for step in steps:
        if step is None and len(taken) < 8:
            number = numbers.take()
            assert number not in taken
            taken.add(number)
        elif step is not None and step in taken:
            numbers.release(step)
            taken.discard(step)
