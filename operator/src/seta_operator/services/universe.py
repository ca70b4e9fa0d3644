"""Every identity that a set may contain, found fast by label. Pure; filled by membership.py, asked by selectorsets.py.

A selector is answered from its rarest label, so that 500 policies among 5,000 identities compare what is near, and not
everything with everything.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from seta_crds import labels, selectors
from seta_crds.selectors import Requirement, Selector
from seta_operator.services.prefixes import Prefix

Label = tuple[str, str]  # source:key, value


class Identity(NamedTuple):
    """A number and what policies may know it by."""

    number: int
    labels: Mapping[str, str]  # source:key -> value
    prefixes: tuple[Prefix, ...] = ()  # addresses by which CIDRs match it: none of pods, ever


class Universe:
    """The identities: reserved ones, pods' label sets, address ranges, nodes."""

    def __init__(self) -> None:
        self._known: dict[int, Identity] = {}  # number -> identity
        self._having: dict[Label, set[int]] = {}  # label -> identities that have it
        self._prefixed: set[int] = set()  # identities with prefixes
        for number, own in labels.RESERVED_LABELS.items():
            # Of API servers, 7 is for those on a node: that makes them remote nodes, too.
            self.put(Identity(number, own | labels.RESERVED_LABELS[6] if number == 7 else own))

    def put(self, identity: Identity) -> bool:
        """There is this identity; whether that is news."""
        if self._known.get(identity.number) == identity:
            return False
        self.remove(identity.number)
        self._known[identity.number] = identity
        for label in identity.labels.items():
            self._having.setdefault(label, set()).add(identity.number)
        if identity.prefixes:
            self._prefixed.add(identity.number)
        return True

    def remove(self, number: int) -> None:
        """There is no such identity any more."""
        held = self._known.pop(number, None)
        for label in held.labels.items() if held else ():
            self._having[label].discard(number)
            if not self._having[label]:
                del self._having[label]
        self._prefixed.discard(number)

    def get(self, number: int) -> Identity | None:
        return self._known.get(number)

    def every(self) -> Iterable[Identity]:
        return self._known.values()

    def prefixed(self) -> Iterable[Identity]:
        """Those that CIDRs may match."""
        return (self._known[number] for number in self._prefixed)

    def likely(self, selector: Selector) -> Iterable[Identity]:
        """Identities among which are all that match: those with the selector's rarest label."""
        found: list[set[int]] | None = None
        for one in selector.requirements:
            if one.operator == "In":
                having = [self._having[label] for label in labels_of(one) if label in self._having]
                if found is None or sum(map(len, having)) < sum(map(len, found)):
                    found = having
        if found is None:
            return self._known.values()
        return (self._known[number] for number in set().union(*found))


def labels_of(requirement: Requirement) -> list[Label]:
    """Labels of which one must be there for an In to hold."""
    sources = selectors.SOURCES[1:] if requirement.source == "any" else (requirement.source,)
    return [(f"{source}:{requirement.key}", value) for source in sources for value in requirement.values]
