"""How generated values are drawn: by plain functions that pick among options, whoever chooses.

Under hypothesis each choice is one integer of its own, so that failures shrink, towards the first option and the
shortest list. From a seed the same functions make some hundred times as many situations a second, without shrinking.
Strategies made of strategies would be slower than either by far.
"""

import functools
import random
import typing

from hypothesis import strategies as st

T = typing.TypeVar("T")


class Pick:
    """One drawing."""

    def __init__(self, choose: typing.Callable[[int], int]) -> None:
        """choose(n): one of 0..n-1."""
        self._choose = choose

    def one(self, options: typing.Sequence[T]) -> T:
        return options[self._choose(len(options))]

    def chance(self, of: int) -> bool:
        """True once in `of` times."""
        return self._choose(of) == of - 1

    def several(self, make: typing.Callable[..., T], *arguments: typing.Any, least: int = 1, most: int = 2) -> list[T]:
        """A list of what make(pick, *arguments) makes, every length as likely as the other."""
        return [make(self, *arguments) for _ in range(self.one(range(least, most + 1)))]

    def some(self, options: typing.Sequence[T], least: int = 0, most: int = 2) -> list[T]:
        """Different ones of the options."""
        count = self.one(range(least, most + 1)) if options else 0
        return list(dict.fromkeys(self.one(options) for _ in range(count)))

    def mapping(self, vocabulary: typing.Mapping[str, tuple[str, ...]], of: int = 2) -> dict[str, str]:
        """Some of the keys, each once in `of` times absent, with one of its values."""
        return {key: self.one(values) for key, values in vocabulary.items() if not self.chance(of)}


def seeded(seed: int) -> Pick:
    return Pick(random.Random(seed).randrange)


@st.composite
def drawn(draw: st.DrawFn, make: typing.Callable[..., T], *arguments: typing.Any) -> T:
    """The strategy whose values make(pick, *arguments) makes."""
    return make(Pick(lambda count: draw(_index(count))), *arguments)


@functools.cache
def _index(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)
