"""What of a node decides over its LB maps, besides the services: itself, its addresses, its settings. Pure."""

import dataclasses
from collections.abc import Iterable

from seta_agent.settings import Settings
from seta_agent.tables import IPAddress, IPNetwork, Node


@dataclasses.dataclass(frozen=True, slots=True)
class NodeView:
    """Equal views mean equal LB maps: the stage looks at every service again where this changes."""

    name: str
    zone: str = ""
    addresses: tuple[IPAddress, ...] = ()  # at which node ports answer, InternalIPs first
    topology: bool = False  # backends' hints are followed
    algorithm: str = "random"  # of services that say nothing
    mode: str = "snat"  # snat, dsr, hybrid
    has_dsr: bool = True  # not through a tunnel
    external_clusterip: bool = False  # packets from outside may go to cluster addresses
    ranges_for_all_types: bool = False  # source ranges count for node ports and external IPs, too


def view(settings: Settings, own: Node, found: Iterable[IPAddress]) -> NodeView:
    """`found`: the addresses of the native devices."""
    return NodeView(
        name=own.name,
        zone=own.zone,
        addresses=_serving(settings.nodeport_addresses, own, found),
        topology=settings.enable_service_topology,
        algorithm=settings.bpf_lb_algorithm,
        mode=settings.bpf_lb_mode,
        has_dsr=not settings.tunnel,
        external_clusterip=settings.bpf_lb_external_clusterip,
        ranges_for_all_types=settings.bpf_lb_source_range_all_types,
    )


def _serving(wanted: tuple[IPNetwork, ...], own: Node, found: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    """Each address once: the node's own, then the others in order; of those named, where ranges are named."""
    others = sorted(
        (
            ip
            for ip in set(found) - set(own.internal_ips) - set(own.router_ips)
            if not (ip.is_link_local or ip.is_loopback)
        ),
        key=lambda ip: (ip.version, int(ip)),
    )
    every = dict.fromkeys([*own.internal_ips, *others])
    return tuple(ip for ip in every if not wanted or any(ip in network for network in wanted))
