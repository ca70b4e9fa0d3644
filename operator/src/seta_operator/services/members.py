"""Every identity and every set, kept in step: an identity that comes or goes joins or leaves the sets it belongs to.

The ground that pods, address ranges and nodes stand on; `membership` puts it together. What was touched is kept until
it is drained, so that each change costs the objects it concerns and no others. Pure.
"""

from collections.abc import Callable

from seta_operator.services.selectorsets import SelectorSets
from seta_operator.services.setspec import SetSpec
from seta_operator.services.terms import Terms
from seta_operator.services.universe import Identity, Universe


class Members:
    """Identities, and the sets they belong to."""

    def __init__(self, resolve: Callable[[SetSpec], Terms]) -> None:
        """`resolve`: what a spec means in the cluster as it is now."""
        self.universe = Universe()
        self.sets = SelectorSets(self.universe, resolve)
        self._touched: tuple[set[str], set[int]] = set(), set()  # sets, identities

    def put(self, identity: Identity) -> None:
        """It is new, or should be there again, or has other labels or addresses."""
        if self.universe.put(identity):
            self._touched[0].update(self.sets.compare(identity.number))
        self._touched[1].add(identity.number)

    def remove(self, number: int) -> None:
        """It stands for nothing any more."""
        self.universe.remove(number)
        self._touched[0].update(self.sets.compare(number))
        self._touched[1].add(number)

    def touch_sets(self, changed: set[str]) -> None:
        """These sets have other members, came, or went."""
        self._touched[0].update(changed)

    def touch_identities(self, changed: list[int]) -> None:
        """These should be there no more, though the sets still have them."""
        self._touched[1].update(changed)

    def drain(self) -> tuple[set[str], set[int]]:
        """Sets and identities touched since the last time."""
        drained, self._touched = self._touched, (set(), set())
        return drained
