"""cilium_lxc: which addresses live on this node, and whether policy applies to them.

Called by the programmer for one endpoint at a time, and for the node's own addresses.
"""

import enum
from collections.abc import Iterable

import numpy as np

from seta_agent.desired.encode import FAMILY, Dtype, Entries, entries, ip16, mac_number, put_bytes
from seta_agent.tables import Endpoint, IPAddress, ReservedIdentity

HOST_ENDPOINT = 65535  # the node itself, where policies are for it


class Flag(enum.IntFlag):
    """`enum endpoint_flag`. Zero is enforced in both directions: what is forgotten fails closed."""

    HOST = 0x1
    INGRESS_OPEN = 0x10
    EGRESS_OPEN = 0x20
    AUDIT = 0x40
    PACKET_SERVICES = 0x80


def of_endpoint(endpoint: Endpoint, flags: Flag, key: Dtype, value: Dtype) -> Entries:
    """The entries of one endpoint, one per address; none while its identity is unknown."""
    if endpoint.identity is None:
        return {}
    info = np.zeros(1, value)
    flags |= Flag.PACKET_SERVICES if endpoint.has_packets else Flag(0)
    info["ifindex"], info["lxc_id"], info["flags"] = endpoint.ifindex, endpoint.id, int(flags)
    info["mac"], info["node_mac"] = mac_number(endpoint.mac), mac_number(endpoint.node_mac)
    info["sec_id"] = endpoint.identity
    addresses = [address for address in (endpoint.ipv4, endpoint.ipv6) if address]
    return entries(_keys(addresses, key), np.repeat(info, len(addresses)))


def opted_out(listed: Iterable[Endpoint], key: Dtype, value: Dtype) -> Entries:
    """All of seta_sock_optout: the network namespaces whose sockets are left alone."""
    cookies = [endpoint.netns_cookie for endpoint in listed if endpoint.packet_services and endpoint.netns_cookie]
    return entries(np.array(cookies, key), np.ones(len(cookies), value))


def of_node(own: Iterable[IPAddress], key: Dtype, value: Dtype, *, flags: Flag | None = None) -> Entries:
    """The node's own addresses: packets to them go to the stack. `flags`: of the policy for the node, if one is."""
    addresses = sorted(set(own), key=lambda address: (address.version, int(address)))
    info = np.zeros(len(addresses), value)
    info["flags"], info["sec_id"] = int(Flag.HOST | (flags or 0)), int(ReservedIdentity.HOST)
    info["lxc_id"] = 0 if flags is None else HOST_ENDPOINT
    return entries(_keys(addresses, key), info)


def _keys(addresses: list[IPAddress], key: Dtype) -> np.ndarray[tuple[int], Dtype]:
    keys = np.zeros(len(addresses), key)
    put_bytes(keys, "ip", b"".join(ip16(address) for address in addresses))
    keys["family"] = [FAMILY[address.version] for address in addresses]
    return keys
