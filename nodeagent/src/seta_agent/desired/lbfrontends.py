"""The frontends of a service as this node serves them: their addresses, flags, and backends from each side. Pure.

A service seen from outside may have other backends than seen from pods and nodes (externalTrafficPolicy Local): then
it is in the map twice, told apart by the scope.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from seta_agent.desired import lbchoice
from seta_agent.desired.encode import PROTOCOLS
from seta_agent.desired.lbchoice import Choice
from seta_agent.desired.lbids import FrontendKey
from seta_agent.desired.lbnode import NodeView
from seta_agent.tables import Frontend, IPAddress, Service, ServicePort

EXT_LOCAL, AFFINITY, ROUTABLE, SOURCE_RANGE, LOOPBACK = 0x4, 0x10, 0x40, 0x80, 0x800  # `enum lb_flag`
INT_LOCAL, TWO_SCOPES, RANGES_DENY, DSR = 0x1000, 0x2000, 0x4000, 0x8000
TYPES = {  # type of a frontend -> flags | flags2 << 8; packets from outside are translated where it is ROUTABLE
    "ClusterIP": 0,
    "ExternalIPs": 0x1 | ROUTABLE,
    "NodePort": 0x2 | ROUTABLE,
    "HostPort": 0x8 | ROUTABLE,
    "LoadBalancer": 0x20 | ROUTABLE,
    "LocalRedirect": 0x100,
}
OUTER = ("ExternalIPs", "NodePort", "LoadBalancer")  # where externalTrafficPolicy, algorithm and mode count
AT_NODES = ("NodePort", "HostPort")  # with an unspecified address: at every address of the node
DSR_MODES = ("dsr", "hybrid")  # the other protocols are snat in both
MAGLEV = 2  # `enum lb_algorithm`; 0 is random
Numbers = Mapping[FrontendKey, int]  # frontend -> reverse NAT index that the node gave


class Front(NamedTuple):
    """One frontend of this node."""

    address: IPAddress
    port: int
    number: int  # reverse NAT index
    flags: int  # of both scopes
    affinity_seconds: int
    is_maglev: bool  # of the external scope; the internal one is random
    outside: Choice
    inside: Choice | None  # where it is another


def of_port(service: Service, port: ServicePort, version: int, view: NodeView, numbers: Numbers) -> Iterator[Front]:
    """The frontends of a port that are of one address family."""
    backends = [backend for backend in port.backends if backend.address.version == version]
    anywhere = here = lbchoice.anywhere(backends, view)
    if service.external_local or service.internal_local:
        here = lbchoice.here(backends, view)
    for one in port.frontends:
        if one.address.version == version:
            outside, inside = _sides(service, one.type, anywhere, here)
            flags = _flags(service, one, port.protocol, view) | (TWO_SCOPES if inside else 0)
            maglev = one.type in OUTER and (service.algorithm or view.algorithm) == "maglev"
            for address, number in _places(one, port.protocol, view, numbers):
                yield Front(address, one.port, number, flags, service.affinity_seconds, maglev, outside, inside)


def wanted_numbers(service: Service, view: NodeView) -> frozenset[FrontendKey]:
    """The frontends for which the node gives the reverse NAT index: what is there on this node only."""
    return frozenset(
        key
        for port in service.ports
        for one in port.frontends
        if one.type in AT_NODES
        for key in _keys(one, port.protocol, view)[1 if one.id else 0 :]
    )


def _places(one: Frontend, protocol: str, view: NodeView, numbers: Numbers) -> list[tuple[IPAddress, int]]:
    """(address, index): where a frontend answers. What stands for any address shares the first one's index."""
    if one.type not in AT_NODES:
        return [(one.address, one.id)]
    keys = _keys(one, protocol, view)
    given = [numbers.get(key, 0) for key in keys]
    given[0] = one.id or given[0]
    found = {key[0]: number for key, number in zip(keys, given, strict=True)}
    found.setdefault(one.address, given[0])
    return [(address, number) for address, number in found.items() if number]


def _keys(one: Frontend, protocol: str, view: NodeView) -> list[FrontendKey]:
    """Where it answers but for the address that stands for any."""
    number = PROTOCOLS[protocol]
    if one.address.is_unspecified:
        own = [(ip, one.port, number) for ip in view.addresses if ip.version == one.address.version]
        if own:
            return own
    return [(one.address, one.port, number)]


def _sides(service: Service, kind: str, anywhere: Choice, here: Choice) -> tuple[Choice, Choice | None]:
    """What is seen from outside, and from inside where that is another."""
    if kind == "ClusterIP":
        return (here if service.internal_local else anywhere), None
    if kind not in OUTER or not service.external_local or here == anywhere:
        return anywhere, None
    return here, anywhere


def _flags(service: Service, one: Frontend, protocol: str, view: NodeView) -> int:
    flags = TYPES.get(one.type, 0)  # unknown ones are later versions'
    if service.affinity_seconds:
        flags |= AFFINITY
    if one.type == "ClusterIP":
        flags |= INT_LOCAL if service.internal_local else 0
        flags |= ROUTABLE if view.external_clusterip else 0
    elif one.type == "HostPort":
        return flags & ~ROUTABLE | LOOPBACK if one.address.is_loopback else flags
    elif one.type in OUTER:
        flags |= EXT_LOCAL if service.external_local else 0
        if protocol == "TCP" and view.has_dsr:
            flags |= DSR if (service.forwarding_mode or view.mode) in DSR_MODES else 0
    if service.source_ranges and (one.type == "LoadBalancer" or (view.ranges_for_all_types and flags & ROUTABLE)):
        flags |= SOURCE_RANGE | (RANGES_DENY if service.source_ranges_deny else 0)
    return flags
