"""Selector sets: what a policy names -> identities that belong to it, shared by all policies. Pure; used by membership.

A new identity is compared with the sets it may belong to, a new set with the identities that may belong to it.
Policies are never touched by either: that is what the sets are for.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from seta_operator.services.setindex import SetIndex
from seta_operator.services.setspec import SetSpec
from seta_operator.services.terms import Terms
from seta_operator.services.universe import Identity, Universe
from seta_operator.store.facts import JSON


@dataclass
class _Set:
    spec: SetSpec
    terms: Terms
    members: set[int]
    users: set[str] = field(default_factory=set)  # policies that refer to it


class SelectorSets:
    """Which sets are in use, by whom, and who belongs to them."""

    def __init__(self, universe: Universe, resolve: Callable[[SetSpec], Terms]) -> None:
        """`resolve`: what a spec means in the cluster as it is now."""
        self._universe, self._resolve = universe, resolve
        self._sets: dict[str, _Set] = {}  # set -> what it is
        self._of_policy: dict[str, set[str]] = {}  # policy -> sets it refers to
        self._index = SetIndex()

    def use(self, policy: str, specs: Mapping[str, SetSpec]) -> set[str]:
        """The policy refers to exactly these sets now; returns the sets that came or went by it."""
        before = self._of_policy.pop(policy, set())
        if specs:
            self._of_policy[policy] = set(specs)
        changed = {name for name in specs if name not in self._sets}
        for name in changed:
            self._make(name, specs[name])
        for name in specs:
            self._sets[name].users.add(policy)
        for name in before - set(specs):
            held = self._sets[name]
            held.users.discard(policy)
            if not held.users:
                self._index.remove(name, held.terms)
                del self._sets[name]
                changed.add(name)
        return changed

    def compare(self, number: int) -> set[str]:
        """An identity came, changed or went; returns the sets that it joined or left."""
        identity = self._universe.get(number)
        likely = self._index.find(identity) if identity is not None else ()
        belongs = {name for name in likely if identity is not None and self._sets[name].terms.hold(identity)}
        changed = belongs ^ {name for name, held in self._sets.items() if number in held.members}
        for name in changed:
            (self._sets[name].members.add if name in belongs else self._sets[name].members.discard)(number)
        return changed

    def refresh(self, concerned: Callable[[SetSpec], bool]) -> dict[str, bool]:
        """What these specs mean may have changed; set -> whether its members changed, for those that mean another."""
        changed: dict[str, bool] = {}
        for name, held in self._sets.items():
            if concerned(held.spec) and (terms := self._resolve(held.spec)) != held.terms:
                members = self._members(terms)
                changed[name] = members != held.members
                self._index.remove(name, held.terms)
                self._index.add(name, terms)
                held.terms, held.members = terms, members
        return changed

    def containing(self, number: int) -> list[str]:
        """Names of the sets that an identity is in, sorted."""
        return sorted(name for name, held in self._sets.items() if number in held.members)

    def terms(self, name: str) -> Terms:
        """What it takes to be in a set; nothing does for a set nobody refers to."""
        held = self._sets.get(name)
        return Terms() if held is None else held.terms

    def specs(self) -> Iterable[SetSpec]:
        """Of all sets in use."""
        return (held.spec for held in self._sets.values())

    def content(self, name: str) -> JSON | None:
        """Content of the SelectorSet, or None where nobody refers to it."""
        held = self._sets.get(name)
        if held is None:
            return None
        return {"metadata": {}, "spec": {"selector": held.spec.text, "identities": sorted(held.members)}}

    def _make(self, name: str, spec: SetSpec) -> None:
        terms = self._resolve(spec)
        self._sets[name] = _Set(spec, terms, self._members(terms))
        self._index.add(name, terms)

    def _members(self, terms: Terms) -> set[int]:
        likely: list[Iterable[Identity]] = [self._universe.likely(selector) for selector in terms.selectors]
        if terms.ranges:
            likely.append(self._universe.prefixed())
        if terms.entity or terms.nodes is not None:
            likely.append(self._universe.every())
        return {identity.number for some in likely for identity in some if terms.hold(identity)}
