"""Random valid NetworkPolicies (networking.k8s.io/v1). Part of `generate`."""

from tests.policy import generate_selectors as selectors
from tests.policy import vocabulary as words
from tests.policy.picking import Pick
from tests.policy.reference.flows import Manifest


def policy(pick: Pick) -> Manifest:
    """Without its name."""
    spec: Manifest = {"podSelector": selectors.plain(pick, words.POD_LABELS)}
    for section in pick.some(("ingress", "egress"), most=3):
        spec[section] = pick.several(_rule, "from" if section == "ingress" else "to", least=0)
    types = pick.one(((), ("Ingress",), ("Egress",), ("Ingress", "Egress")))
    if types:
        spec["policyTypes"] = list(types)
    metadata = {"namespace": pick.one(words.OFTEN_THE_FIRST)}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _rule(pick: Pick, way: str) -> Manifest:
    """Peers and ports, each absent now and then, and now and then empty."""
    rule: Manifest = {}
    if not pick.chance(4):
        rule[way] = pick.several(_peer, least=pick.one((0, 1, 1)))
    if pick.one((False, True)):
        rule["ports"] = pick.several(_port, least=0)
    return rule


def _peer(pick: Pick) -> Manifest:
    kind = pick.one(("podSelector", "namespaceSelector", "both", "ipBlock"))
    if kind == "ipBlock":
        cidr = pick.one(words.CIDRS)
        excepted = pick.some(words.inside(cidr), least=pick.one((0, 1)))
        return {kind: {"cidr": cidr, **({"except": excepted} if excepted else {})}}
    peer: Manifest = {}
    if kind != "namespaceSelector":
        peer["podSelector"] = selectors.plain(pick, words.POD_LABELS)
    if kind != "podSelector":
        peer["namespaceSelector"] = selectors.plain(pick, words.NAMESPACE_LABELS)
    return peer


def _port(pick: Pick) -> Manifest:
    protocol = pick.one(("", "TCP", "UDP", "SCTP"))
    item = {"protocol": protocol} if protocol else {}
    match pick.one(("number", "range", "name", "every")):
        case "range":
            first, last = pick.one(words.RANGES)
            return {"port": first, "endPort": last, **item}
        case "name":
            return {"port": pick.one(words.PORT_NAMES), **item}
        case "every":
            return item
    return {"port": pick.one(words.EDGES), **item}
