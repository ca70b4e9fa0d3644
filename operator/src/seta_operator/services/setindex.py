"""From an identity to the sets it may belong to, without asking each. Pure; used by selectorsets.py.

Each set is filed under one label that its members must have, or under its ranges; the few that have neither are asked
every time.
"""

from collections.abc import Iterator

from seta_crds import labels
from seta_crds.selectors import Selector
from seta_operator.services.prefixes import Prefix
from seta_operator.services.terms import Terms
from seta_operator.services.universe import Identity, Label, labels_of

_Place = Label | Prefix | None  # None: asked every time


class SetIndex:
    """Where each set is filed."""

    def __init__(self) -> None:
        self._filed: dict[_Place, set[str]] = {}  # label, range or None -> sets

    def add(self, name: str, terms: Terms) -> None:
        """File a set."""
        for place in _places(terms):
            self._filed.setdefault(place, set()).add(name)

    def remove(self, name: str, terms: Terms) -> None:
        """Take it out again; with the terms it was filed under."""
        for place in _places(terms):
            held = self._filed.get(place, set())
            held.discard(name)
            if not held:
                self._filed.pop(place, None)

    def find(self, identity: Identity) -> set[str]:
        """Every set that the identity belongs to, and some more."""
        places: list[_Place] = [None, *identity.labels.items()]
        places += [outer for prefix in identity.prefixes for outer in prefix.around()]
        return set().union(*(self._filed.get(place, ()) for place in places))


def _places(terms: Terms) -> Iterator[_Place]:
    if terms.entity or terms.nodes is not None:
        yield None
    for one in terms.ranges:
        yield one.prefix
    for selector in terms.selectors:
        yield from _labels(selector)


def _labels(selector: Selector) -> list[Label] | list[None]:
    """The labels of one requirement, one of which every member has: not the namespace's, if another will do."""
    wanted = [one for one in selector.requirements if one.operator == "In"]
    if not wanted:
        return [None]
    return labels_of(min(wanted, key=lambda one: (one.key == labels.NAMESPACE, len(one.values))))
