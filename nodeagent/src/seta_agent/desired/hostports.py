"""Host ports of this node's pods, as services: one per pod, with the pod as its only backend. Pure."""

import dataclasses
import ipaddress
from collections.abc import Callable, Iterator, Sequence

from seta_agent.desired.encode import PROTOCOLS
from seta_agent.desired.lbids import FrontendKey
from seta_agent.tables import Backend, Endpoint, Frontend, HostPort, IPAddress, Pod, Service, ServicePort

ANY = (ipaddress.IPv4Address(0), ipaddress.IPv6Address(0))
KIND = "HostPort"


def service(pod: Pod, endpoint: Endpoint, node: str) -> Service:
    """The frontends have no index: each node gives its own."""
    return Service(pod.namespace, pod.name, tuple(_port(one, endpoint, node) for one in pod.host_ports), type=KIND)


def numbered(row: Service, addresses: Sequence[IPAddress], number: Callable[[FrontendKey], int]) -> Service:
    """With the index of each frontend; of one at every address, that of the first of them. `number`: 0 for none."""
    ports = []
    for port in row.ports:
        places = [(one, addresses if one.address.is_unspecified else [one.address]) for one in port.frontends]
        found = [(one, [number((ip, one.port, PROTOCOLS[port.protocol])) for ip in ips]) for one, ips in places]
        fronts = tuple(dataclasses.replace(one, id=next(filter(None, numbers), 0)) for one, numbers in found)
        ports.append(dataclasses.replace(port, frontends=fronts))
    return dataclasses.replace(row, ports=tuple(ports))


def _port(one: HostPort, endpoint: Endpoint, node: str) -> ServicePort:
    addresses = [ip for ip in (endpoint.ipv4, endpoint.ipv6) if ip]
    return ServicePort(
        name="",
        protocol=one.protocol,
        frontends=tuple(_frontends(one, {ip.version for ip in addresses})),
        backends=tuple(Backend(ip, one.container_port, node) for ip in addresses),
    )


def _frontends(one: HostPort, families: set[int]) -> Iterator[Frontend]:
    """At the address that is named, else at every address of the node; of families that the pod has."""
    wanted = [one.address] if one.address else ANY
    return (Frontend(0, KIND, address, one.port) for address in wanted if address.version in families)
