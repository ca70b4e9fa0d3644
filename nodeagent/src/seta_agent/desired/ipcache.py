"""cilium_ipcache_v2: every address of the cluster to its identity, and the node behind which it lives.

Called by the programmer per node, endpoint slice, local endpoint and range that policies name. A miss in the map
is the world; a pod that is not known yet falls into its node's pod CIDR as unmanaged, never into the world.
"""

import dataclasses
import ipaddress
from collections.abc import Container, Iterable

import numpy as np

from seta_agent.desired.encode import FAMILY, Dtype, Entries, entries, ip16, put_bytes
from seta_agent.tables import Endpoint, Identity, IPAddress, IPNetwork, Node, RemotePod, ReservedIdentity

Layout = tuple[Dtype, Dtype]  # of key and value
STATIC_BITS = 32  # cluster, pad and family before the address count into the prefix length


@dataclasses.dataclass(frozen=True, slots=True)
class Whose:
    prefix: IPNetwork
    identity: int
    node: IPAddress | None = None  # None: here, or no pod


def of_own(addresses: Iterable[IPAddress], key: Dtype, value: Dtype) -> Entries:
    """Addresses of this node."""
    return _encode([Whose(_host(ip), ReservedIdentity.HOST) for ip in addresses], key, value)


def of_node(node: Node, admitted: Container[int], key: Dtype, value: Dtype) -> Entries:
    """Addresses of another node, and where its pods live."""
    behind = {ip.version: ip for ip in reversed(node.internal_ips)}  # IP version -> the node's address
    outer = behind.get(4) or behind.get(6)
    identity = identity_of_node(node, admitted)
    found = [Whose(_host(ip), identity) for ip in node.internal_ips]
    # In tunnel mode what a node sends to pods comes from its router address: an API server's calls, too.
    found += [Whose(_host(ip), identity, outer) for ip in node.router_ips]
    found += [Whose(cidr, ReservedIdentity.UNMANAGED, outer) for cidr in node.pod_cidrs]
    return _encode(found, key, value)


def identity_of_node(node: Node, admitted: Container[int]) -> int:
    """What another node is called: its own identity while policies tell nodes apart, else what it is."""
    if node.identity in admitted:
        return node.identity
    return ReservedIdentity.KUBE_APISERVER if node.kube_apiserver else ReservedIdentity.REMOTE_NODE


def of_range(identity: Identity, pod_cidrs: Container[IPNetwork], key: Dtype, value: Dtype) -> Entries:
    """An address range that policies name. Nothing where all of it is pods': they have identities of their own."""
    prefix = identity.prefix
    if prefix is None or any(prefix.supernet(new_prefix=bits) in pod_cidrs for bits in range(prefix.prefixlen + 1)):
        return {}
    return _encode([Whose(prefix, identity.id)], key, value)


def of_endpoint(endpoint: Endpoint, key: Dtype, value: Dtype) -> Entries:
    """A local pod; it has precedence over what slices say about its address."""
    if endpoint.identity is None:
        return {}
    addresses = [ip for ip in (endpoint.ipv4, endpoint.ipv6) if ip]
    return _encode([Whose(_host(ip), endpoint.identity) for ip in addresses], key, value)


def of_slice(pods: Iterable[RemotePod], own_addresses: frozenset[IPAddress], key: Dtype, value: Dtype) -> Entries:
    """The pods of one endpoint slice, on any node."""
    found = []
    for pod in pods:
        node = None if pod.node_ip in own_addresses else pod.node_ip
        found += [Whose(_host(ip), pod.identity, node) for ip in pod.addresses]
    return _encode(found, key, value)


def _host(address: IPAddress) -> IPNetwork:
    return ipaddress.ip_network(address)


def _encode(found: list[Whose], key: Dtype, value: Dtype) -> Entries:
    keys, values = np.zeros(len(found), key), np.zeros(len(found), value)
    if not found:
        return {}
    keys["prefixlen"] = [STATIC_BITS + one.prefix.prefixlen for one in found]
    keys["family"] = [FAMILY[one.prefix.version] for one in found]
    put_bytes(keys, "ip", b"".join(ip16(one.prefix.network_address) for one in found))
    values["sec_identity"] = [int(one.identity) for one in found]
    put_bytes(values, "tunnel_endpoint", b"".join(ip16(one.node) for one in found))
    return entries(keys, values)
