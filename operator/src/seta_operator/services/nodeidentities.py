"""Nodes' identities, which exist while policies tell nodes apart: fromNodes, toNodes, or CIDRs that match nodes.

Used by membership.py, and by nodes.py, which writes a node's number onto its CiliumNode once the identity is written.
"""

from collections.abc import Callable, Iterable

import structlog

from seta_crds import labels, names
from seta_operator.services.lasting import Lasting
from seta_operator.services.members import Members
from seta_operator.services.setspec import NodeSet
from seta_operator.services.surroundings import Surroundings
from seta_operator.store.cluster import Cluster

log = structlog.get_logger()


class NodeIdentities:
    """Which node has which identity."""

    def __init__(self, cluster: Cluster, members: Members, surroundings: Surroundings) -> None:
        self._cluster, self._members, self._surroundings = cluster, members, surroundings
        self._nodes: Lasting[str] = Lasting(labels.NODE_IDENTITIES)
        self._active = False  # whether nodes have identities
        self._listeners: list[Callable[[str], None]] = []  # called with the name of a node whose number is another

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call it with each node that has an identity now, or has none any more."""
        self._listeners.append(listener)

    def restore(self) -> None:
        """Take over the identities that are written."""
        for (_, name), held in sorted(self._cluster.identities.items()):
            node = held.content["metadata"].get("annotations", {}).get(names.NODE_ANNOTATION)
            if not name.isdecimal() or not node or int(name) < labels.NODE_IDENTITIES[0]:
                continue
            if not self._nodes.restore(int(name), node):
                log.warning("identity.odd", identity=name)
            elif identity := self._surroundings.node(node, int(name)):
                self._members.put(identity)

    def changed(self, nodes: Iterable[str]) -> None:
        """These came, went, or have other labels or addresses."""
        for name in nodes:
            here = self._active and ("", name) in self._cluster.nodes
            self._nodes.use(name, {name} if here else set())
            identity = self._surroundings.node(name, self._nodes.number(name)) if here else None
            if identity is not None:
                self._members.put(identity)
            else:
                self._tell(name)

    def needed(self) -> None:
        """Sets came or went: perhaps nodes have to be told apart now, or no more."""
        sets = self._members.sets
        active = self._surroundings.cidrs_match_nodes or any(isinstance(spec, NodeSet) for spec in sets.specs())
        if active != self._active:
            self._active = active
            self.changed(name for _, name in self._cluster.nodes.known())

    def name(self, number: int) -> str:
        """The node that an identity stands for, if it is a node's."""
        return self._nodes.thing(number) or ""

    def number(self, name: str) -> int:
        """The identity that agents may know a node by: in use, and written; else 0."""
        number = self._nodes.number(name)
        return number if ("", str(number)) in self._cluster.identities else 0

    def written(self, numbers: Iterable[int]) -> None:
        """These CiliumIdentities are as wanted now."""
        for number in numbers:
            if name := self.name(number):
                self._tell(name)

    def has_left(self, number: int) -> bool:
        """Whether its identity should be there no more."""
        return self._nodes.has_left(number)

    def collect(self, now: float, grace: float) -> list[int]:
        """Let go what nodes have not needed for `grace` seconds; what stands for nothing any more."""
        leaving, gone = self._nodes.collect(now, grace)
        self._members.touch_identities(leaving)
        return gone

    def _tell(self, name: str) -> None:
        for listener in self._listeners:
            listener(name)
