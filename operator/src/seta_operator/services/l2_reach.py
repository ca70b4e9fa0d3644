"""Which nodes each rule reaches, as they are now. Pure; used by l2.py and the election."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from seta_crds import interfaces
from seta_operator.services.l2_rules import Rule


@dataclass(frozen=True, slots=True)
class Node:
    """What of a node matters here."""

    labels: Mapping[str, str]
    cordoned: bool
    alive: bool  # not known to be dead: it may keep what it has
    up: frozenset[str]  # its devices that are up


@dataclass(frozen=True, slots=True)
class Reach:
    """Rules and nodes brought together. Two are equal when no election would come out differently."""

    selected: Mapping[str, frozenset[str]]  # rule -> nodes its nodeSelector matches
    usable: Mapping[str, frozenset[str]]  # rule -> those of them that are alive, with a matching device that is up
    fresh: frozenset[str] = frozenset()  # heard of lately: they may get more
    cordoned: frozenset[str] = frozenset()


NOTHING = Reach({}, {})


def of(rules: Mapping[str, Rule], nodes: Mapping[str, Node], fresh: AbstractSet[str] = frozenset()) -> Reach:
    """All anew."""
    return renewed(NOTHING, rules, nodes, fresh, changed=rules.keys(), moved=nodes.keys())


def renewed(
    before: Reach,
    rules: Mapping[str, Rule],
    nodes: Mapping[str, Node],
    fresh: AbstractSet[str],
    *,
    changed: AbstractSet[str],
    moved: AbstractSet[str],
) -> Reach:
    """After these rules have changed and these nodes: only they are compared."""
    selected, usable = {}, {}
    for name, rule in rules.items():
        if name in changed:
            chosen, works = _chosen(rule, nodes, nodes.keys())
        elif moved:
            chosen, works = _chosen(rule, nodes, moved)
            chosen, works = before.selected[name] - moved | chosen, before.usable[name] - moved | works
        else:
            chosen, works = before.selected[name], before.usable[name]
        selected[name], usable[name] = chosen, works
    cordoned = frozenset(name for name in moved if name in nodes and nodes[name].cordoned)
    return Reach(selected, usable, frozenset(fresh), before.cordoned - moved | cordoned)


def _chosen(rule: Rule, nodes: Mapping[str, Node], some: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Those of some nodes that a rule selects, and those of them that it can use."""
    if rule.nodes is None or rule.interfaces is None:
        return frozenset(), frozenset()
    chosen = frozenset(one for one in some if one in nodes and rule.nodes.matches(labels_of(nodes[one].labels)))
    return chosen, frozenset(one for one in chosen if _works(nodes[one], rule.interfaces))


def labels_of(labels: Mapping[str, str]) -> dict[str, str]:
    """A node's, as selectors see them."""
    return {f"k8s:{key}": value for key, value in labels.items()}


def _works(node: Node, expressions: Iterable[str]) -> bool:
    return node.alive and any(interfaces.matches(expressions, device) for device in node.up)
