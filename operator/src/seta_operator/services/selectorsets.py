"""Selector sets: selector -> identities that match it, shared by all policies. Pure; used by policy.py.

A new identity is matched against each selector once; a new selector against each identity once. Policies are never
touched by either: that is what the sets are for.
"""

from collections.abc import Callable, Iterable, Mapping

from seta_crds.selectors import Selector
from seta_operator.store.facts import JSON

Universe = Callable[[], Iterable[tuple[int, Mapping[str, str]]]]


class SelectorSets:
    """Which selectors are in use, by whom, and what they match."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self._selector: dict[str, Selector] = {}  # set -> selector
        self._members: dict[str, set[int]] = {}  # set -> identities
        self._users: dict[str, set[str]] = {}  # set -> policies that refer to it

    def use(self, policy: str, selectors: Mapping[str, Selector]) -> set[str]:
        """The policy refers to exactly these sets now; returns the sets that came or went by it."""
        before = {name for name, users in self._users.items() if policy in users}
        changed: set[str] = set()
        for name, selector in selectors.items():
            if name not in self._selector:
                self._selector[name] = selector
                self._members[name] = {number for number, labels in self._universe() if selector.matches(labels)}
                changed.add(name)
            self._users.setdefault(name, set()).add(policy)
        for name in before - set(selectors):
            self._users[name].discard(policy)
            if not self._users[name]:
                del self._users[name], self._selector[name], self._members[name]
                changed.add(name)
        return changed

    def add(self, number: int, labels: Mapping[str, str]) -> set[str]:
        """A new identity; returns the sets that match it."""
        matching = {name for name, selector in self._selector.items() if selector.matches(labels)}
        for name in matching:
            self._members[name].add(number)
        return matching

    def remove(self, number: int) -> set[str]:
        """An identity is no more; returns the sets that it was in."""
        held = {name for name, members in self._members.items() if number in members}
        for name in held:
            self._members[name].discard(number)
        return held

    def containing(self, number: int) -> list[str]:
        """Names of the sets that an identity is in, sorted."""
        return sorted(name for name, members in self._members.items() if number in members)

    def content(self, name: str) -> JSON | None:
        """Content of the SelectorSet, or None where nobody refers to it."""
        if name not in self._selector:
            return None
        spec = {"selector": self._selector[name].text, "identities": sorted(self._members[name])}
        return {"metadata": {}, "spec": spec}
