"""What a spec means in the cluster as it is: CIDR groups, services and their addresses, nodes, the API server.

Asked by membership.py. Reads tables, keeps nothing; pure. A group or service that is not there
means nobody.
"""

from collections.abc import Iterator, Mapping

from seta_crds import labels, selectors
from seta_crds.selectors import Requirement, Selector
from seta_operator.services import apiserver, prefixes
from seta_operator.services.prefixes import Prefix, Range
from seta_operator.services.setspec import CIDRSet, EntitySet, GroupSet, LabelSet, NodeSet, ServiceSet, SetSpec
from seta_operator.services.terms import Terms, of_nodes
from seta_operator.services.universe import Identity
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key


class Surroundings:
    """The cluster, as policies speak of it."""

    def __init__(self, cluster: Cluster, *, cidrs_match_nodes: bool) -> None:
        """`cidrs_match_nodes`: whether CIDRs match nodes' addresses (policyCIDRMatchMode)."""
        self._cluster = cluster
        self.cidrs_match_nodes = cidrs_match_nodes

    def terms(self, spec: SetSpec) -> Terms:
        """What it takes to be in the set."""
        match spec:
            case LabelSet(selector):
                return Terms(selectors=(selector,))
            case EntitySet(name):
                return Terms(entity=name)
            case CIDRSet(cidr, excepts):
                return Terms(ranges=_ranges([cidr], excepts))
            case GroupSet():
                return Terms(ranges=_ranges(sorted({cidr for group in self._groups(spec) for cidr in group.cidrs})))
            case ServiceSet():
                return self._behind(spec)
            case NodeSet(selector):
                return Terms(nodes=of_nodes(selector))

    def node(self, name: str, number: int) -> Identity | None:
        """A node as an identity, or None where there is no such node."""
        found = self._cluster.nodes.get(("", name))
        if found is None:
            return None
        own = {"reserved:remote-node": "", **{f"node:{key}": value for key, value in sorted(found.labels.items())}}
        if apiserver.on_node(self._cluster, found):
            own["reserved:kube-apiserver"] = ""
        known = [prefixes.parse(address) for address in found.addresses] if self.cidrs_match_nodes else []
        return Identity(number, own, tuple(one for one in known if one is not None))

    def api_servers(self) -> set[Prefix]:
        """Addresses of API servers that are no nodes."""
        found = map(prefixes.parse, apiserver.outside(self._cluster))
        return {prefix for prefix in found if prefix is not None}

    def nodes_matching(self, selector: Selector) -> list[str]:
        """Names of the nodes that a host policy is about, sorted."""
        return sorted(name for (_, name), node in self._cluster.nodes.items() if selector.matches(_k8s(node.labels)))

    def _groups(self, spec: GroupSet) -> Iterator[facts.CIDRGroup]:
        if spec.selector is None:
            found = self._cluster.cidr_groups.get(("", spec.ref))
            yield from [found] if found else []
            return
        yield from (
            group for _, group in self._cluster.cidr_groups.items() if spec.selector.matches(_k8s(group.labels))
        )

    def _behind(self, spec: ServiceSet) -> Terms:
        """Pods that services select; and of services without a selector, the addresses."""
        wanted: set[Selector] = set()
        addresses: set[str] = set()
        for key, service in self._services(spec):
            if service.selector:
                wanted.add(_pods(key[0], service.selector))
            else:
                addresses.update(self._addresses(key))
        return Terms(selectors=tuple(sorted(wanted)), ranges=_ranges(sorted(addresses)))

    def _services(self, spec: ServiceSet) -> Iterator[tuple[Key, facts.Service]]:
        if spec.selector is None and spec.namespace:
            found = self._cluster.services.get((spec.namespace, spec.name))
            yield from [((spec.namespace, spec.name), found)] if found else []
            return
        for key, service in self._cluster.services.items():
            named = key[1] == spec.name if spec.selector is None else spec.selector.matches(_k8s(service.labels))
            if named and spec.namespace in ("", key[0]):
                yield key, service

    def _addresses(self, service: Key) -> Iterator[str]:
        for piece in self._cluster.slices(service):
            for endpoint in piece.endpoints:
                yield from endpoint.addresses


def _pods(namespace: str, selector: Mapping[str, str]) -> Selector:
    wanted = [Requirement("k8s", key, "In", (value,)) for key, value in selector.items()]
    return selectors.selector([*wanted, Requirement("k8s", labels.NAMESPACE, "In", (namespace,))])


def _k8s(own: Mapping[str, str]) -> dict[str, str]:
    return {f"k8s:{key}": value for key, value in own.items()}


def _ranges(cidrs: list[str], excepts: tuple[str, ...] = ()) -> tuple[Range, ...]:
    holes = tuple(hole for hole in map(prefixes.parse, excepts) if hole is not None)
    return tuple(Range(prefix, holes) for prefix in map(prefixes.parse, cidrs) if prefix is not None)
