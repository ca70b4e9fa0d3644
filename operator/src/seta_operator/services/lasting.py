"""Things that have a number as long as anybody uses them, and are taken back in two steps. Pure; used by membership.

Agents map an address to the identity of the longest range that holds it. When such a range goes, its identity goes
first (leaving) and its number stays in the sets until the next collection: else its addresses would, for a moment, have
a number that is in no set.
"""

from collections import Counter
from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from typing import Generic, NamedTuple, TypeVar

from seta_operator.services.allotment import Allotment

T = TypeVar("T", bound=Hashable)


class Collected(NamedTuple):
    """What a collection came to."""

    leaving: list[int]  # their identities are to be deleted
    gone: list[int]  # they stand for nothing any more


class Lasting(Generic[T]):
    """Things, their numbers and who uses them."""

    def __init__(self, numbers: tuple[int, int]) -> None:
        """`numbers`: first and last."""
        self._allotment: Allotment[T] = Allotment(*numbers)
        self._of_user: dict[str, AbstractSet[T]] = {}  # user -> things it uses
        self._uses: Counter[T] = Counter()  # thing -> how many use it
        self._leaving: set[int] = set()

    def restore(self, number: int, thing: T) -> bool:
        """Take over a number given before a restart; whether it was free. Call in ascending order."""
        return self._allotment.restore(number, thing)

    def use(self, user: str, things: AbstractSet[T]) -> set[int]:
        """The user uses exactly these now; returns the numbers given out, or back, by it."""
        before = self._of_user.pop(user, frozenset())
        if things:
            self._of_user[user] = things
        self._uses.update(things - before)
        self._uses.subtract(before - things)
        for thing in before - things:
            if not self._uses[thing]:
                del self._uses[thing]
        return {number for thing in things - before for number in self._given(thing)}

    def number(self, thing: T) -> int:
        """The number of a thing in use; 0 where it is in none."""
        return self.held(thing) if thing in self._uses else 0

    def held(self, thing: T) -> int:
        """The number of a thing, in use or not yet forgotten; else 0."""
        return self._allotment.number(thing) or 0

    def thing(self, number: int) -> T | None:
        """What a number stands for."""
        return self._allotment.thing(number)

    def has_left(self, number: int) -> bool:
        """Whether its identity is to be no more."""
        return number in self._leaving

    def collect(self, now: float, grace: float) -> Collected:
        """Let go what nobody has used for `grace` seconds, and release what was let go the last time."""
        used = {self._allotment.number(thing) for thing in self._uses}
        idle = self._allotment.idle({number for number in used if number}, now, grace)
        gone = sorted(self._leaving)
        for number in gone:
            self._allotment.release(number)
        self._leaving = set(idle) - set(gone)
        return Collected(sorted(self._leaving), gone)

    def _given(self, thing: T) -> list[int]:
        number, fresh = self._allotment.give(thing)
        back = number in self._leaving
        self._leaving.discard(number)
        return [number] if fresh or back else []
