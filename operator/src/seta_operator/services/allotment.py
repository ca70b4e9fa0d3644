"""Things and their numbers, kept while in use and for a while after. Pure; used by identities, prefixes and node names.

A number stays with its thing while anything uses it; after that it is idle, and its owner releases it after a grace
period, so that what goes and comes back finds the number it had.
"""

from collections.abc import Collection
from typing import Generic, TypeVar

from seta_operator.services.numbers import Numbers

T = TypeVar("T")


class Allotment(Generic[T]):
    """A range of numbers, and what each stands for."""

    def __init__(self, first: int, last: int) -> None:
        self._numbers = Numbers(first, last)
        self._thing: dict[int, T] = {}  # number -> what it stands for
        self._number: dict[T, int] = {}  # thing -> its number; the lowest, where several exist
        self._idle_since: dict[int, float] = {}  # number nothing uses -> when that was noticed

    def restore(self, number: int, thing: T) -> bool:
        """Take over a number given before a restart; whether it was free. Call in ascending order."""
        if not self._numbers.claim(number):
            return False
        self._thing[number] = thing
        self._number.setdefault(thing, number)
        return True

    def give(self, thing: T) -> tuple[int, bool]:
        """The thing's number, and whether it was given out just now.

        Raises:
            ExhaustedError: no number is left.

        """
        number = self._number.get(thing)
        if number is not None:
            return number, False
        number = self._numbers.take()
        self._number[thing], self._thing[number] = number, thing
        return number, True

    def number(self, thing: T) -> int | None:
        """The number of a thing."""
        return self._number.get(thing)

    def thing(self, number: int) -> T | None:
        """What a number stands for."""
        return self._thing.get(number)

    def numbers(self) -> list[int]:
        """Every number given out, ascending."""
        return sorted(self._thing)

    def idle(self, used: Collection[int], now: float, grace: float) -> list[int]:
        """Numbers that were not among the used ones for `grace` seconds."""
        self._idle_since = {number: self._idle_since.get(number, now) for number in self._thing if number not in used}
        return [number for number, since in self._idle_since.items() if now - since >= grace]

    def release(self, number: int) -> None:
        """Give it back."""
        thing = self._thing.pop(number)
        if self._number.get(thing) == number:
            del self._number[thing]
        self._idle_since.pop(number, None)
        self._numbers.release(number)
