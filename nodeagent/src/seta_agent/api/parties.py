"""The two ends that `seta policy explain` is asked about: words of a command line → who that is. Pure.

Called by `explain`. Every node's agent knows all pods, nodes and address ranges, so each can answer for all. What an
address is called depends on who looks: a node is the host to its own pods and a remote node to the others.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Iterator

from seta_agent.desired import ipcache
from seta_agent.tables import IPAddress, ReservedIdentity, Tables
from seta_crds import labels

NamedPorts = tuple[tuple[str, int, str], ...]
# The names and patterns of toFQDNs; a last label of digits alone makes a mistyped address.
DNS_NAME = re.compile(r"([-\w*]+\.)+[-\w*]*[a-z][-\w]*\.?", re.ASCII | re.IGNORECASE)


class PartyError(Exception):
    """Nobody is meant by these words; the sentence says what to write."""


@dataclasses.dataclass(frozen=True, slots=True)
class Party:
    """One end. A pod has an identity of its own; what a node or an address is called depends on who looks."""

    name: str  # "default/xwing", "192.168.10.101", "reserved:world"
    address: IPAddress | None = None
    node: str = ""  # the node it is on, or is; "": none
    identity: int = 0  # of a pod, or a reserved one
    pod: tuple[str, str] | None = None  # (namespace, name)
    named_ports: NamedPorts = ()

    @property
    def is_node(self) -> bool:
        return bool(self.node) and self.pod is None


def find(tables: Tables, word: str) -> Party:
    """`namespace/pod`, an address, or `reserved:world` and its like. Raises PartyError."""
    if word.startswith("reserved:"):
        return _reserved(word)
    if "/" in word:
        namespace, _, name = word.partition("/")
        return _pod(tables, (namespace, name))
    try:
        address = ipaddress.ip_address(word)
    except ValueError:
        raise PartyError(_nobody(word)) from None
    return _address(tables, address)


def _nobody(word: str) -> str:
    if DNS_NAME.fullmatch(word):
        return (
            f"{word} is a DNS name, and names are not understood yet, because toFQDNs is not: "
            "write an IP address that it stands for or, of a Service, namespace/pod of a pod behind it"
        )
    return f"{word} is nobody: write namespace/pod, an IP address or reserved:NAME"


def seen_from(tables: Tables, looker: Party, other: Party) -> int:
    """The identity that the looker's node gives the other."""
    if other.identity:
        return other.identity
    if other.is_node:
        node = tables.nodes.get(other.node)
        if node is None or looker.node == other.node:
            return ReservedIdentity.HOST
        return ipcache.identity_of_node(node, tables.admitted.keys())
    if other.address and tables.own_addresses.get(other.address) and _is_here(tables, looker.node):
        return ReservedIdentity.HOST  # a further address of this node, which others do not know
    return _of_address(tables, other.address)


def _is_here(tables: Tables, name: str) -> bool:
    node = tables.nodes.get(name)
    return node is not None and any(tables.own_addresses.get(address) for address in node.internal_ips)


def _reserved(word: str) -> Party:
    known = {f"reserved:{name}": number for number, name in labels.RESERVED_IDENTITIES.items()}
    if word not in known:
        raise PartyError(f"there is no {word}; there are {', '.join(known)}")
    return Party(word, identity=known[word])


def _pod(tables: Tables, key: tuple[str, str]) -> Party:
    found = next((party for party in _pods(tables) if party.pod == key), None)
    if found is None:
        sentence = f"there is no pod {'/'.join(key)} with an address of its own"
        raise PartyError(f"{sentence}; for a pod on the host's network name its node's address")
    return found


def _pods(tables: Tables) -> Iterator[Party]:
    """Of our own node first: what is known of those is newer than any slice."""
    here = {row.id: _endpoint_node(tables, row.ipv4) for row in tables.endpoints}
    for row in tables.endpoints:
        if row.identity is not None:
            key = (row.namespace, row.pod)
            yield Party("/".join(key), row.ipv4, here[row.id], row.identity, key, row.named_ports)
    nodes = {ip: node.name for node in tables.nodes for ip in node.internal_ips}
    for pods in tables.remote_pods:
        for pod in pods:
            key = (pod.namespace, pod.name)
            first = pod.addresses[0] if pod.addresses else None
            yield Party("/".join(key), first, nodes.get(pod.node_ip, ""), pod.identity, key, pod.named_ports)


def _endpoint_node(tables: Tables, address: IPAddress) -> str:
    return next((node.name for node in tables.nodes if any(address in cidr for cidr in node.pod_cidrs)), "")


def _address(tables: Tables, address: IPAddress) -> Party:
    for node in tables.nodes:
        if address in (*node.internal_ips, *node.router_ips):
            return Party(str(address), address, node.name)
    for party in _pods(tables):
        if party.address == address:
            return party
    for service in tables.services:
        if any(frontend.address == address for port in service.ports for frontend in port.frontends):
            name = f"{service.namespace}/{service.name}"
            raise PartyError(f"{address} is service {name}: policy is about the pods behind it; name one of them")
    return Party(str(address), address)


def _of_address(tables: Tables, address: IPAddress | None) -> int:
    """The longest range that has it; where pods live, an unknown address is no one's; else the world."""
    if address is None:
        return ReservedIdentity.WORLD
    if any(address in cidr for node in tables.nodes for cidr in node.pod_cidrs):
        return ReservedIdentity.UNMANAGED
    ranges = [row for row in tables.admitted if row.prefix is not None and address in row.prefix]
    narrowest = max(ranges, key=lambda row: (row.prefix.prefixlen if row.prefix else 0, -row.id), default=None)
    return narrowest.id if narrowest else ReservedIdentity.WORLD
