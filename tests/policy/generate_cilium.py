"""Random valid CiliumNetworkPolicies and CiliumClusterwideNetworkPolicies over the whole language. Part of `generate`.

With `beyond` they also use what is beyond layer 4: rules, toFQDNs, serverNames, authentication.
"""

from tests.policy import generate_selectors as selectors
from tests.policy import vocabulary as words
from tests.policy.picking import Pick
from tests.policy.reference.flows import Manifest

# Denies are rarer: a deny hides whatever else covers the same flow.
_SECTIONS = ("ingress", "egress", "ingress", "egress", "ingressDeny", "egressDeny")
Peers = list[Manifest] | list[str]


def policy(pick: Pick, beyond: bool) -> Manifest:  # noqa: FBT001 (an argument of `several`)
    """Without its name."""
    clusterwide = pick.one((False, True))
    body: Manifest = {"spec": _rule(pick, clusterwide=clusterwide, beyond=beyond)}
    if pick.chance(6):
        body = {"specs": [body["spec"], _rule(pick, clusterwide=clusterwide, beyond=beyond)]}
    kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
    metadata = {} if clusterwide else {"namespace": pick.one(words.OFTEN_THE_FIRST)}
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, **body}


def _rule(pick: Pick, *, clusterwide: bool, beyond: bool) -> Manifest:
    """One spec: a subject, one or more sections, and perhaps enableDefaultDeny."""
    host = clusterwide and pick.chance(3)
    rule: Manifest = {}
    if host:
        rule["nodeSelector"] = selectors.node(pick)
    else:
        rule["endpointSelector"] = selectors.subject(pick, clusterwide=clusterwide)
    for section in pick.some(_SECTIONS, least=1, most=3):
        rule[section] = pick.several(_item, section, beyond and not host, most=3)
    if pick.chance(5):
        rule["enableDefaultDeny"] = {way: pick.one((False, True)) for way in pick.some(("ingress", "egress"), least=1)}
    return rule


def _item(pick: Pick, section: str, beyond: bool) -> Manifest:  # noqa: FBT001 (an argument of `several`)
    """One rule of a section: at most one list of peers, and toPorts or icmps or neither."""
    direction, deny = section.removesuffix("Deny"), section.endswith("Deny")
    item = {**_peers(pick, direction, beyond=beyond and not deny), **_traffic(pick, beyond=beyond and not deny)}
    if beyond and not deny and pick.chance(6):
        item["authentication"] = {"mode": pick.one(("required", "disabled"))}
    return item


def _peers(pick: Pick, direction: str, *, beyond: bool) -> Manifest:
    """Absent is everybody; now and then the list is there but empty, which is nobody."""
    way = "from" if direction == "ingress" else "to"
    kinds = ["", "", "Endpoints", "Endpoints", "Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes"]
    kinds += ["Services"] if way == "to" else []
    kinds += ["FQDNs"] if way == "to" and beyond else []
    kind = pick.one(kinds)
    if not kind:
        return {}
    return {f"{way}{kind}": [] if pick.chance(12) else _list(pick, kind)}


def _list(pick: Pick, kind: str) -> Peers:
    match kind:
        case "Endpoints":
            return pick.several(selectors.peer)
        case "Entities":
            return pick.some(words.ENTITIES, least=1)
        case "CIDR":
            return pick.some((*words.CIDRS, "192.0.2.77"), least=1)
        case "CIDRSet":
            return pick.several(_cidr_rule)
        case "Nodes":
            return pick.several(selectors.node)
        case "Services":
            return pick.several(_service)
    return [{"matchName": "example.org"}]


def _cidr_rule(pick: Pick) -> Manifest:
    kind = pick.one(("cidr", "cidr", "cidrGroupRef", "cidrGroupSelector"))
    if kind == "cidrGroupRef":
        return {kind: pick.one((*words.GROUPS, "unknown"))}
    if kind == "cidrGroupSelector":
        return {kind: selectors.plain(pick, words.GROUP_LABELS)}
    cidr = pick.one(words.CIDRS)
    excepted = pick.some(words.inside(cidr), least=pick.one((0, 1)))
    return {kind: cidr, **({"except": excepted} if excepted else {})}


def _service(pick: Pick) -> Manifest:
    namespace = {} if pick.chance(2) else {"namespace": pick.one(words.OFTEN_THE_FIRST)}
    if pick.chance(2):
        return {"k8sServiceSelector": {"selector": selectors.plain(pick, words.SERVICE_LABELS), **namespace}}
    return {"k8sService": {"serviceName": pick.one((*words.SERVICES, "unknown")), **namespace}}


def _traffic(pick: Pick, *, beyond: bool) -> Manifest:
    kind = pick.one(("", "", "", "toPorts", "toPorts", "toPorts", "icmps"))
    if kind == "toPorts":
        return {kind: pick.several(_port_rule, beyond)}
    return {kind: [{"fields": pick.several(_icmp_field)}]} if kind else {}


def _port_rule(pick: Pick, beyond: bool) -> Manifest:  # noqa: FBT001 (an argument of `several`)
    if beyond and pick.chance(2):
        number = {"port": str(pick.one(words.EDGES)), "protocol": "TCP"}
        return {"ports": [number], **pick.one(words.BEYOND)}
    return {"ports": pick.several(_port)}


def _port(pick: Pick) -> Manifest:
    """A number, a range, a name or every port, of a protocol or of any."""
    protocol = pick.one(("TCP", "TCP", "UDP", "SCTP", "ANY", ""))
    item = {"protocol": protocol} if protocol else {}
    match pick.one(("number", "range", "name", "every")):
        case "range":
            first, last = pick.one(words.RANGES)
            return {"port": str(first), "endPort": last, **item}
        case "name":
            return {"port": pick.one(words.PORT_NAMES), **item}
        case "every":
            return {"port": "0", **item}
    return {"port": str(pick.one(words.EDGES)), **item}


def _icmp_field(pick: Pick) -> Manifest:
    family = pick.one(("", "IPv4", "IPv6"))
    return {"type": pick.one(words.ICMP_TYPES[family or "IPv4"]), **({"family": family} if family else {})}
