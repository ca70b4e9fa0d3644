"""Who is in which set: the identities of pods, address ranges and nodes, and the sets that policies name.

The one door for policy.py: told what changed, asked what is wanted. Decides, writes nothing.
"""

from collections.abc import Callable, Iterable, Mapping

import structlog

from seta_crds import labels
from seta_operator.services import wanted
from seta_operator.services.members import Members
from seta_operator.services.nodeidentities import NodeIdentities
from seta_operator.services.pods import Pods
from seta_operator.services.ranges import Ranges
from seta_operator.services.setspec import ServiceSet, SetSpec
from seta_operator.services.surroundings import Surroundings
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key

log = structlog.get_logger()


class Membership:
    """Identities and sets."""

    def __init__(
        self,
        cluster: Cluster,
        label_filter: labels.LabelFilter,
        cluster_name: str,
        *,
        cidrs_match_nodes: bool = False,
    ) -> None:
        """`cidrs_match_nodes`: whether CIDRs match the nodes' addresses, too."""
        self._cluster = cluster
        self.surroundings = Surroundings(cluster, cidrs_match_nodes=cidrs_match_nodes)
        self._members = Members(self.surroundings.terms)
        self._pods = Pods(cluster, self._members, label_filter, cluster_name)
        self._ranges = Ranges(cluster, self._members)
        self.nodes = NodeIdentities(cluster, self._members, self.surroundings)

    def restore(self) -> None:
        """Take over the numbers that were given before a restart."""
        for one in (self._pods, self._ranges, self.nodes):
            one.restore()
        self.nodes.needed()

    # What changed.

    def policy(self, policy: str, specs: Mapping[str, SetSpec]) -> None:
        """The policy refers to exactly these sets now."""
        changed = self._members.sets.use(policy, specs)
        self._members.touch_sets(changed)
        for name in changed:
            self._ranges.use(name, self._members.sets.terms(name).prefixes)
        if changed:
            self.nodes.needed()

    def pod(self, key: Key) -> None:
        """A pod or its namespace."""
        self._pods.decide(key)

    def surrounding(self, concerned: Callable[[SetSpec], bool]) -> None:
        """Something that these specs speak of."""
        for name, changed in self._members.sets.refresh(concerned).items():
            self._members.touch_sets({name} if changed else set())
            self._ranges.use(name, self._members.sets.terms(name).prefixes)

    def node(self, changed: Iterable[str]) -> None:
        """Nodes; and with them perhaps where the API server is."""
        self.nodes.changed(changed)
        self._ranges.api_servers_are(self.surroundings.api_servers())

    def api_server(self) -> None:
        """Where the API server listens."""
        self.node(name for _, name in self._cluster.nodes.known())

    def collect(self, now: float, grace: float) -> None:
        """Let go what nobody has used for `grace` seconds."""
        for one in (self._pods, self._ranges, self.nodes):
            for number in one.collect(now, grace):
                log.info("identity.collected", identity=number)
                self._members.remove(number)

    # What is wanted.

    def drain(self) -> tuple[set[str], set[int]]:
        """Sets and identities that may be others than before, since the last time."""
        return self._members.drain()

    def speaks_of_services(self) -> bool:
        """Whether any set is of what stands behind services."""
        return any(isinstance(spec, ServiceSet) for spec in self._members.sets.specs())

    def sets_of(self, number: int) -> list[str]:
        """Sets that an identity belongs to, sorted."""
        return self._members.sets.containing(number)

    def set(self, name: str) -> facts.JSON | None:
        """Content of a SelectorSet, or None where there should be none."""
        return self._members.sets.content(name)

    def identity(self, number: int) -> facts.JSON | None:
        """Content of a CiliumIdentity, or None where there should be none."""
        known = self._members.universe.get(number)
        left = self._ranges.has_left(number) or self.nodes.has_left(number)
        if known is None or number < labels.MIN_IDENTITY or left:
            return None
        held = self._cluster.identities.get(("", str(number)))
        return wanted.identity(known.labels, self.sets_of(number), held, node=self.nodes.name(number))
