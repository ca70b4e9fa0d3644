"""Layer 3 of a Cilium rule: does it cover this peer?

Called by `cilium` for each rule. A rule names its peers by at most one of several lists; the sentences about absent and
empty lists are here, and so is every way to name a peer except the label selectors themselves.
"""

import ipaddress

from tests.policy.reference import identity, selectors
from tests.policy.reference.cluster import Address, Cluster, Network, Service
from tests.policy.reference.flows import Manifest, Settings
from tests.policy.reference.parties import Seen
from tests.policy.reference.statements import Question

INGRESS = ("fromEndpoints", "fromEntities", "fromCIDR", "fromCIDRSet", "fromNodes", "fromGroups")
EGRESS = (
    "toEndpoints", "toEntities", "toCIDR", "toCIDRSet", "toNodes", "toGroups", "toServices", "toFQDNs",
)  # fmt: skip


def named(rule: Manifest) -> list[str]:
    """The peer lists that the rule has. null is absent, as the API server drops it."""
    return [field for field in INGRESS + EGRESS if rule.get(field) is not None]


def covers(rule: Manifest, namespace: str, question: Question, *, deny: bool) -> bool:
    """Without a peer list the rule is about every peer; a list that is there but empty selects nobody, and with it the
    whole rule ("if multiple members are set, all of them need to match") [Cilium, api: IngressRule, EgressRule]."""
    fields = named(rule)
    if not fields:
        return True
    if any(not rule[field] for field in fields):
        return False
    return any(_one(field, item, namespace, question, deny=deny) for field in fields for item in rule[field])


def _one(field: str, item: Manifest | str, namespace: str, question: Question, *, deny: bool) -> bool:
    seen, cluster = question.peer, question.cluster
    kind = field.removeprefix("from").removeprefix("to")
    if kind == "Entities":
        return is_entity(str(item), seen, question.settings)
    if kind == "CIDR":
        return within(seen.cidr_address, [ipaddress.ip_network(str(item), strict=False)])
    assert isinstance(item, dict)
    match kind:
        case "Endpoints":
            return selectors.selects_peer(item, seen.labels, namespace)
        case "CIDRSet":
            return in_cidr_rule(item, seen.cidr_address, cluster)
        case "Nodes":
            return is_node(item, seen)
        case "Services":
            return is_behind_service(item, seen, cluster)
        case "Groups":
            # Nobody resolves the groups of a cloud provider: as an allowance they are nobody, and to refuse they are
            # the whole world, so that a deny never lets through what it was written to stop.
            return deny and seen.has("world")
    return False  # FQDNs: names are not resolved, so that no address is ever one of theirs


def is_entity(name: str, seen: Seen, settings: Settings) -> bool:
    """[Cilium, layer3: Entities based]."""
    match name:
        case "all":
            return True
        case "none":
            return False
        case "cluster":
            # "all Cilium-managed endpoints of the local cluster, unmanaged endpoints, as well as the host, remote-node,
            # and init identities"; the API server belongs to it, also where it runs outside.
            reserved = ("host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver")
            managed = seen.labels.get(f"k8s:{identity.CLUSTER}") == settings.cluster_name
            return managed or any(seen.has(each) for each in reserved)
    return seen.has(name)


def is_node(selector: Manifest, seen: Seen) -> bool:
    """fromNodes and toNodes are "an extension of the remote-node entity": other nodes, by the labels of the Node
    object; the local host is none of them [Cilium, layer3: Node based]."""
    return (
        seen.node_labels is not None and seen.has("remote-node") and selectors.matches_plain(selector, seen.node_labels)
    )


def within(address: Address | None, cidrs: list[Network]) -> bool:
    return address is not None and any(address in cidr for cidr in cidrs)


def in_cidr_rule(item: Manifest, address: Address | None, cluster: Cluster) -> bool:
    """`except` takes away from its own `cidr` only, not from any other rule's; a group is meant by name or by labels,
    and one that does not exist contains nothing [Cilium, api: CIDRRule; CiliumCIDRGroup]."""
    if item.get("cidrGroupRef"):
        return any(within(address, [*each.cidrs]) for each in cluster.cidr_groups if each.name == item["cidrGroupRef"])
    if item.get("cidrGroupSelector") is not None:
        chosen = [
            each for each in cluster.cidr_groups if selectors.matches_plain(item["cidrGroupSelector"], each.labels)
        ]
        return any(within(address, [*each.cidrs]) for each in chosen)
    excepted = [ipaddress.ip_network(cidr, strict=False) for cidr in item.get("except") or []]
    return within(address, [ipaddress.ip_network(item["cidr"], strict=False)]) and not within(address, excepted)


def is_behind_service(item: Manifest, seen: Seen, cluster: Cluster) -> bool:
    """A service with a selector stands for the pods that its selector selects in its namespace; one without, for the
    addresses in its EndpointSlices, as CIDRs: those select no pods [Cilium, layer3: Services based]."""
    return any(_stands_for(each, seen, cluster) for each in cluster.services if _is_meant(item, each))


def _is_meant(item: Manifest, service: Service) -> bool:
    """By name or by labels; without a namespace, in every namespace."""
    wanted = item.get("k8sServiceSelector") or item.get("k8sService") or {}
    if wanted.get("namespace") not in (None, "", service.namespace):
        return False
    if item.get("k8sServiceSelector"):
        return selectors.matches_plain(wanted["selector"], service.labels)
    return bool(wanted.get("serviceName") == service.name)


def _stands_for(service: Service, seen: Seen, cluster: Cluster) -> bool:
    if service.selector:
        return seen.labels.get(f"k8s:{identity.NAMESPACE}") == service.namespace and selectors.matches(
            {"matchLabels": service.selector}, seen.labels
        )
    own = [each for each in cluster.endpoints if (each.namespace, each.service) == (service.namespace, service.name)]
    return any(each.address == seen.cidr_address for each in own)
