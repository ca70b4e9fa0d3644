"""CiliumIdentity, CiliumNode and CiliumEndpointSlice → rows: who is who, and where. Called by the reflectors; pure."""

import ipaddress
from sys import intern
from typing import Any

from seta_agent.tables import Identity, IPAddress, Node, RemotePod
from seta_crds import labels, names


def name_key(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])


def identity_key(item: dict[str, Any]) -> int:
    return int(item["metadata"]["name"])


def identity(item: dict[str, Any]) -> Identity:
    """Raises ValueError outside of the range that pods may have: a forged object must not name the host."""
    number = identity_key(item)
    if not labels.MIN_IDENTITY <= number <= labels.MAX_IDENTITY:
        raise ValueError(f"{number} is no pod's identity ({labels.MIN_IDENTITY}..{labels.MAX_IDENTITY})")
    sets = (item["metadata"].get("annotations") or {}).get(names.SELECTOR_SETS_ANNOTATION, "")
    return Identity(
        id=number,
        labels=frozenset(intern(label) for label in labels.as_list(item["security-labels"])),
        selector_sets=tuple(intern(name.strip()) for name in sets.split(",") if name.strip()),
    )


def node(item: dict[str, Any]) -> Node:
    spec = item["spec"]
    addresses = spec.get("addresses") or ()
    return Node(
        name=item["metadata"]["name"],
        internal_ips=_of_type(addresses, "InternalIP"),
        router_ips=_of_type(addresses, "CiliumInternalIP"),
        pod_cidrs=tuple(ipaddress.ip_network(cidr) for cidr in (spec.get("ipam") or {}).get("podCIDRs") or ()),
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
