"""CiliumIdentity, CiliumNode and CiliumEndpointSlice → rows: who is who, and where. Called by the reflectors; pure."""

import ipaddress
from sys import intern
from typing import Any

from seta_agent.tables import Identity, IPAddress, IPNetwork, Node, RemotePod
from seta_crds import labels, names

CIDR_LABEL = "cidr:"
ZONE_LABEL = "topology.kubernetes.io/zone"
IDENTITY_RANGES = ((labels.MIN_IDENTITY, labels.MAX_IDENTITY), labels.CIDR_IDENTITIES, labels.NODE_IDENTITIES)


def name_key(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])


def identity_key(item: dict[str, Any]) -> int:
    return int(item["metadata"]["name"])


def identity(item: dict[str, Any]) -> Identity:
    """Raises ValueError outside of the ranges of pods, address ranges and nodes: nobody may name the host."""
    number = identity_key(item)
    if not any(first <= number <= last for first, last in IDENTITY_RANGES):
        raise ValueError(f"{number} is no identity of a pod, an address range or a node")
    sets = (item["metadata"].get("annotations") or {}).get(names.SELECTOR_SETS_ANNOTATION, "")
    found = labels.as_list(item["security-labels"])
    return Identity(
        id=number,
        labels=frozenset(intern(label) for label in found),
        selector_sets=tuple(intern(name.strip()) for name in sets.split(",") if name.strip()),
        prefix=_prefix(found) if in_range(number, labels.CIDR_IDENTITIES) else None,
    )


def in_range(number: int, limits: tuple[int, int]) -> bool:
    return limits[0] <= number <= limits[1]


def _prefix(found: list[str]) -> IPNetwork:
    """The address range of `cidr:10.0.0.0/8`; of IPv6 the colons may be written as dashes."""
    texts = [label.removeprefix(CIDR_LABEL) for label in found if label.startswith(CIDR_LABEL)]
    if len(texts) != 1:
        raise ValueError("an address range has exactly one cidr label")
    return ipaddress.ip_network(texts[0].replace("-", ":"))


def node(item: dict[str, Any]) -> Node:
    """Raises ValueError where the node's identity is none: it must not name the host, either."""
    spec, notes = item["spec"], item["metadata"].get("annotations") or {}
    addresses = spec.get("addresses") or ()
    number = int(notes.get(names.NODE_IDENTITY_ANNOTATION) or 0)
    if number and not in_range(number, labels.NODE_IDENTITIES):
        raise ValueError(f"{number} is no node's identity")
    return Node(
        name=item["metadata"]["name"],
        internal_ips=_of_type(addresses, "InternalIP"),
        router_ips=_of_type(addresses, "CiliumInternalIP"),
        pod_cidrs=tuple(ipaddress.ip_network(cidr) for cidr in (spec.get("ipam") or {}).get("podCIDRs") or ()),
        identity=number,
        uid=item["metadata"].get("uid", ""),
        kube_apiserver=notes.get(names.KUBE_APISERVER_ANNOTATION) == "true",
        zone=(item["metadata"].get("labels") or {}).get(ZONE_LABEL, ""),
    )


def _of_type(addresses: Any, kind: str) -> tuple[IPAddress, ...]:
    return tuple(ipaddress.ip_address(entry["ip"]) for entry in addresses if entry["type"] == kind)


def remote_pods(item: dict[str, Any]) -> tuple[RemotePod, ...]:
    """An endpoint slice. One that is not complete yet (no identity, no address) has nothing to say about itself."""
    namespace = intern(item["namespace"])
    return tuple(
        RemotePod(
            namespace=namespace,
            name=endpoint["name"],
            identity=int(endpoint["id"]),
            addresses=_pod_addresses(endpoint["networking"]),
            node_ip=ipaddress.ip_address(endpoint["networking"]["node"]),
            named_ports=tuple(
                (port["name"], int(port["port"]), port.get("protocol") or "TCP")
                for port in endpoint.get("named-ports") or ()
            ),
        )
        for endpoint in item.get("endpoints") or ()
        if endpoint.get("id") and (endpoint.get("networking") or {}).get("addressing")
    )


def _pod_addresses(networking: dict[str, Any]) -> tuple[IPAddress, ...]:
    return tuple(
        ipaddress.ip_address(pair[family])
        for pair in networking["addressing"]
        for family in ("ipv4", "ipv6")
        if pair.get(family)
    )
