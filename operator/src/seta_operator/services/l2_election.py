"""Chooses the node that announces a Service: one holder each, spread evenly, and none moves without a cause.

Pure; used by l2.py. Services that share an address are one group, which has one holder: two nodes must never answer for
one address. Nodes are preferred that can announce most of a group's addresses, and those that are not cordoned: a
cordoned node announces only what nobody else can. A node that joins gets what comes, and what others lose; the rest is
evened out one group at a time, at the caller's pace, because a move costs connections.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from seta_operator.services.l2_reach import Reach
from seta_operator.services.l2_wishes import Wish
from seta_operator.store.table import Key

Group = tuple[Key, ...]  # sorted


Alike = tuple[tuple[str, ...], ...]  # for each address of a service, the rules that announce it


class Rank(NamedTuple):
    """How well a node can announce a group; more is better."""

    uncordoned: bool
    addresses: int


class Election:
    """Wishes and who holds them."""

    def __init__(self) -> None:
        self.wishes: dict[Key, Wish] = {}  # service -> its wish
        self.holders: dict[Key, str] = {}  # service -> the node that is to announce it
        self.asked: Counter[str] = Counter()  # rule -> services that it announces
        self._load: Counter[str] = Counter()  # node -> services that it is to announce
        self._asking: dict[str, set[Key]] = {}  # address -> services that want it announced

    def wish(self, key: Key, wish: Wish | None) -> set[Key]:
        """Remember what a service wants; returns whom this concerns: those that share, or shared, an address."""
        before = self.wishes.pop(key, None)
        concerned = set(self._group(key, before))
        self.asked.subtract(_rules(before))
        self.asked.update(_rules(wish))
        for address in before.addresses if before else ():
            self._asking[address].discard(key)
            if not self._asking[address]:
                del self._asking[address]
        if wish is not None:
            self.wishes[key] = wish
            for address in wish.addresses:
                self._asking.setdefault(address, set()).add(key)
        return concerned | set(self._group(key, wish))

    def hold(self, key: Key, node: str | None) -> None:
        """Take over a holder as it was before a restart, or set it."""
        before = self.holders.pop(key, None)
        if before is not None:
            self._load[before] -= 1
        if node is not None:
            self.holders[key] = node
            self._load[node] += 1

    def decide(self, keys: Iterable[Key], reach: Reach) -> set[Key]:
        """Choose anew for these services and those that share addresses with them; returns all that were looked at."""
        looked_at: set[Key] = set()
        moving: list[tuple[Group, frozenset[str]]] = []
        alike: dict[Alike, frozenset[str]] = {}  # what was found out for services that are alike
        for key in sorted(keys):
            if key in looked_at:
                continue
            group = tuple(sorted(self._group(key, self.wishes.get(key))))
            looked_at.update(group)
            best = self._best(group, reach, alike)
            if (holder := self._holder(group, best)) is None:
                moving.append((group, best))
            self._give(group, holder, reach)
        for group, best in moving:  # after all that stay, so that the loads are right
            self._give(group, self._least_loaded(best, group), reach)
        return looked_at

    def even_out(self, reach: Reach) -> set[Key]:
        """Move one group from a node with many Services to one with few; returns it, or nothing where all is even."""
        alike: dict[Alike, frozenset[str]] = {}
        least: dict[frozenset[str], str | None] = {}
        found: tuple[int, Group, str] | None = None
        for key, holder in sorted(self.holders.items()):
            group = tuple(sorted(self._group(key, self.wishes.get(key))))
            best = self._best(group, reach, alike)
            if best not in least:
                least[best] = self._least_loaded(best, group)
            target = least[best]
            if group[0] != key or target is None:
                continue
            gain = self._load[holder] - self._load[target] - len(group)
            if gain > 0 and (found is None or gain > found[0]):
                found = gain, group, target
        if found is None:
            return set()
        self._give(found[1], found[2], reach)
        return set(found[1])

    def _group(self, key: Key, wish: Wish | None) -> Iterator[Key]:
        """The service and all that it shares addresses with, over however many others."""
        found, todo = {key}, [(key, wish)]
        while todo:
            one, wanted = todo.pop()
            yield one
            near = {
                other for address in (wanted.addresses if wanted else ()) for other in self._asking.get(address, ())
            }
            todo += [(other, self.wishes.get(other)) for other in near - found]
            found |= near

    def _best(self, group: Group, reach: Reach, alike: dict[Alike, frozenset[str]]) -> frozenset[str]:
        """The nodes that can announce the group best, of those that may get or keep it."""
        wish, holder = self.wishes.get(group[0]), self.holders.get(group[0])
        if len(group) > 1 or wish is None or wish.nodes is not None or (holder and holder not in reach.fresh):
            return self._find_best(group, reach)
        kind = tuple(wish.addresses.values())
        if kind not in alike:
            alike[kind] = self._find_best(group, reach)
        return alike[kind]

    def _find_best(self, group: Group, reach: Reach) -> frozenset[str]:
        count: Counter[str] = Counter()
        for key in group:
            wish = self.wishes.get(key)
            for rules in wish.addresses.values() if wish else ():
                nodes = frozenset().union(*(reach.usable.get(rule, frozenset()) for rule in rules))
                count.update(nodes if wish is None or wish.nodes is None else nodes & wish.nodes)
        holding = {self.holders.get(key) for key in group}
        ranks = {
            node: Rank(node not in reach.cordoned, addresses)
            for node, addresses in count.items()
            if node in reach.fresh or node in holding
        }
        best = max(ranks.values(), default=None)
        return frozenset(node for node, rank in ranks.items() if rank == best)

    def _least_loaded(self, nodes: frozenset[str], group: Group) -> str | None:
        """Of several, not always the first: which one, the name of the service says."""
        least = min((self._load[node] for node in nodes), default=0)
        found = sorted(node for node in nodes if self._load[node] == least)
        return found[zlib.crc32("/".join(group[0]).encode()) % len(found)] if found else None

    def _holder(self, group: Group, best: frozenset[str]) -> str | None:
        """Who has most of the group already, if it is among the best."""
        having = Counter(node for key in group if (node := self.holders.get(key)) in best and node is not None)
        return min(having, key=lambda node: (-having[node], node), default=None)

    def _give(self, group: Group, node: str | None, reach: Reach) -> None:
        for key in group:
            wish = self.wishes.get(key)
            able = node is not None and wish is not None and can(wish, node, reach)
            self.hold(key, node if able else None)


def _rules(wish: Wish | None) -> set[str]:
    return {rule for rules in wish.addresses.values() for rule in rules} if wish else set()


def can(wish: Wish, node: str, reach: Reach) -> bool:
    """Whether a node can announce anything of it."""
    if wish.nodes is not None and node not in wish.nodes:
        return False
    return any(node in reach.usable.get(rule, ()) for rules in wish.addresses.values() for rule in rules)
