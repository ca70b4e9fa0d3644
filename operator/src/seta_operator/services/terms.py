"""What it takes to be in a set: the spec of the compiler, resolved by what the cluster says now.

`surroundings` makes them; selectorsets compares. Pure. Any one of the terms is enough.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seta_crds import labels
from seta_crds.selectors import Selector
from seta_operator.services.prefixes import Prefix, Range
from seta_operator.services.universe import Identity

_PODS = range(labels.MIN_IDENTITY, labels.MAX_IDENTITY + 1)
NODES = range(labels.NODE_IDENTITIES[0], labels.NODE_IDENTITIES[1] + 1)
_IN_CLUSTER = frozenset(labels.RESERVED_IDENTITIES) - {2}


@dataclass(frozen=True)
class Terms:
    """An identity belongs to the set when any of these holds."""

    selectors: tuple[Selector, ...] = ()
    ranges: tuple[Range, ...] = ()
    entity: str = ""
    nodes: Selector | None = None  # of node identities only; requirements have the source node

    def hold(self, identity: Identity) -> bool:
        """Whether the identity belongs to the set."""
        return (
            any(selector.matches(identity.labels) for selector in self.selectors)
            or any(one.holds(prefix) for one in self.ranges for prefix in identity.prefixes)
            or (bool(self.entity) and belongs(self.entity, identity))
            or (self.nodes is not None and identity.number in NODES and self.nodes.matches(identity.labels))
        )

    @property
    def prefixes(self) -> set[Prefix]:
        """Ranges and holes: each needs an identity of its own, so that the longest one tells all."""
        return {prefix for one in self.ranges for prefix in (one.prefix, *one.excepts)}


def of_nodes(selector: Selector) -> Selector:
    """A selector of node labels, as node identities have them."""
    return Selector(tuple(one._replace(source="node") for one in selector.requirements))


def _has(label: str) -> Callable[[Identity], bool]:
    return lambda identity: f"reserved:{label}" in identity.labels


_api = _has("kube-apiserver")
# entity -> who belongs to it
_ENTITIES: Mapping[str, Callable[[Identity], bool]] = {
    **{name: _has(name) for name in labels.RESERVED_IDENTITIES.values()},
    "all": lambda _: True,
    # The API server belongs to the cluster, wherever it is.
    "cluster": lambda one: one.number in _IN_CLUSTER or one.number in _PODS or one.number in NODES or _api(one),
}


def belongs(entity: str, identity: Identity) -> bool:
    """Whether an identity is of an entity; nobody is of one that is unknown, or of none."""
    member = _ENTITIES.get(entity)
    return member is not None and member(identity)
