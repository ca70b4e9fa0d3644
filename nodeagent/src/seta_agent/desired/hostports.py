"""Host ports of this node's pods, as services: one per pod, with the pod as its only backend. Pure."""

import ipaddress
from collections.abc import Iterator

from seta_agent.tables import Backend, Endpoint, Frontend, HostPort, Pod, Service, ServicePort

ANY = (ipaddress.IPv4Address(0), ipaddress.IPv6Address(0))
KIND = "HostPort"


def service(pod: Pod, endpoint: Endpoint, node: str) -> Service:
    """The frontends have no index: each node gives its own."""
    return Service(pod.namespace, pod.name, tuple(_port(one, endpoint, node) for one in pod.host_ports), type=KIND)


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
