"""Which nodes each rule reaches, as they are now. Pure; used by l2.py and the election."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from seta_crds import interfaces
from seta_operator.services.l2_rules import Rule


@dataclass(frozen=True, slots=True)
class Node:
    """What of a node matters here."""

    labels: Mapping[str, str]
    cordoned: bool
    alive: bool  # not known to be dead: it may keep what it has
    fresh: bool  # heard of lately: it may get more
    up: frozenset[str]  # its devices that are up


@dataclass(frozen=True, slots=True)
class Reach:
    """Rules and nodes brought together. Two are equal when no election would come out differently."""

    selected: Mapping[str, frozenset[str]]  # rule -> nodes its nodeSelector matches
    usable: Mapping[str, frozenset[str]]  # rule -> those of them that are alive, with a matching device that is up
    fresh: frozenset[str] = frozenset()
    cordoned: frozenset[str] = frozenset()


def of(rules: Mapping[str, Rule], nodes: Mapping[str, Node]) -> Reach:
    labels = {name: {f"k8s:{key}": value for key, value in node.labels.items()} for name, node in nodes.items()}
    selected, usable = {}, {}
    for name, rule in rules.items():
        found = frozenset(one for one in nodes if rule.nodes is not None and rule.nodes.matches(labels[one]))
        selected[name] = found if rule.interfaces is not None else frozenset()
        usable[name] = frozenset(one for one in selected[name] if _works(nodes[one], rule.interfaces or ()))
    return Reach(
        selected,
        usable,
        frozenset(name for name, node in nodes.items() if node.fresh),
        frozenset(name for name, node in nodes.items() if node.cordoned),
    )


def _works(node: Node, expressions: Iterable[str]) -> bool:
    return node.alive and any(interfaces.matches(expressions, device) for device in node.up)
