"""Routes and neighbours of the node: how its own processes reach pods, here and elsewhere.

Called by the programmer. Pods among themselves go past these (the datapath redirects); the node's own traffic and
whatever the datapath hands to the stack use them.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable

from seta_agent.settings import Settings
from seta_agent.tables import Endpoint, IPAddress, IPNetwork, Node

TUNNEL_DEVICE = "seta_vxlan"
TUNNEL_OVERHEAD = 50  # bytes of outer Ethernet, IPv4, UDP and VXLAN


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Route:
    destination: IPNetwork
    device: str  # "": that which leads to the gateway
    gateway: IPAddress | None = None
    source: IPAddress | None = None
    mtu: int = 0  # 0: the device's

    @property
    def on_link(self) -> bool:
        return self.gateway is None


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Neighbour:
    address: IPAddress
    device: str
    mac: str


def router_of(node: Node, version: int = 4) -> IPAddress | None:
    return next((ip for ip in node.router_ips if ip.version == version), None)


def host_route(address: IPAddress, device: str, source: IPAddress | None = None) -> Route:
    return Route(ipaddress.ip_network(address), device, source=source)


def to_endpoint(endpoint: Endpoint, own: Node) -> tuple[list[Route], list[Neighbour]]:
    """The way from the stack to a local pod: its /32 on the veth, and its MAC, for nobody answers ARP for the node."""
    routes, neighbours = [], []
    for address in (endpoint.ipv4, endpoint.ipv6):
        if address:
            routes.append(host_route(address, endpoint.ifname, router_of(own, address.version)))
            neighbours.append(Neighbour(address, endpoint.ifname, endpoint.mac))
    return routes, neighbours


def to_nodes(settings: Settings, own: Node, nodes: Iterable[Node], mtu: int) -> list[Route]:
    """The way to other nodes' pods: the tunnel device, or the node itself where the network knows no better."""
    found = []
    for node in nodes:
        for cidr in node.pod_cidrs if node.name != own.name else ():
            if settings.tunnel:
                source = router_of(own, cidr.version)
                found.append(Route(cidr, TUNNEL_DEVICE, source=source, mtu=mtu - TUNNEL_OVERHEAD))
            elif settings.auto_direct_node_routes:
                via = next((ip for ip in node.internal_ips if ip.version == cidr.version), None)
                found += [Route(cidr, "", gateway=via)] if via else []
    return sorted(found)
