"""What a service does, as Kubernetes documents it and kube-proxy does it: who may answer, and whom the backend sees.

Knows nothing of Seta but where it differs from kube-proxy (`Network.SETA`): backends see a pod itself on every way in,
where kube-proxy puts a node's address in its place; nobody from outside reaches a ClusterIP, where kube-proxy lets him
in; nobody is preferred for being near. The last two are values of Seta's (`Facts`), and so is direct server return.
"""

import dataclasses
import enum
import ipaddress
from typing import Any

HAIRPIN = frozenset({"169.254.42.1"})  # whom a pod sees that reached itself through a per-packet translation
OTHER_PROXY = "service.kubernetes.io/service-proxy-name"  # label of services that are not served
Peers = dict[str, frozenset[str]]  # backend -> the addresses that it may see


class Network(enum.Enum):
    SETA = "seta"
    KUBE_PROXY = "kube-proxy"


@dataclasses.dataclass(frozen=True)
class Place:
    """A pod, a node, or the world. node: where it is ("" for the world)."""

    name: str
    node: str
    addresses: frozenset[str]
    is_pod: bool = False
    on_host: bool = False  # a pod in its node's network
    ready: bool = True


@dataclasses.dataclass(frozen=True)
class Door:
    """A way into a service. kind: ClusterIP, NodePort, Outside (an external or LoadBalancer address) or HostPort.
    node: where packets for it from outside arrive."""

    kind: str
    node: str


@dataclasses.dataclass(frozen=True)
class Expected:
    """peers: who may answer; nobody: `silence` (refused at once; or nothing comes back, or a refusal)."""

    peers: Peers = dataclasses.field(default_factory=dict)
    everybody: bool = False  # each of them has to turn up when it is asked often enough
    same: bool = False  # always the same one
    silence: str = ""
    optional: bool = False  # nobody may answer, too


REFUSED, SILENT = Expected(silence="refused"), Expected(silence="silent")


@dataclasses.dataclass(frozen=True)
class Facts:
    network: Network
    open_inside: bool = False  # ClusterIPs let in who comes from outside
    topology: bool = False  # backends near the client are preferred where a service asks for it
    direct: bool = False  # another node's pod answers by itself who came by TCP and not to a ClusterIP, and sees him
    nodes: dict[str, frozenset[str]] = dataclasses.field(default_factory=dict)  # node -> its addresses
    zones: dict[str, str] = dataclasses.field(default_factory=dict)  # node -> its zone
    backends: dict[str, list[Place]] = dataclasses.field(default_factory=dict)  # app -> who serves it


KUBE_PROXY = Facts(Network.KUBE_PROXY, open_inside=True, topology=True)


def expected(facts: Facts, service: dict[str, Any], client: Place, door: Door, protocol: str) -> Expected:
    """Of a Service as the API server has it."""
    spec = service["spec"]
    backends = _listed(facts, spec)
    if not client.node and door.kind == "ClusterIP" and not facts.open_inside:
        return SILENT
    if OTHER_PROXY in service["metadata"].get("labels", {}):
        return SILENT
    if not backends:
        return REFUSED if facts.network is Network.SETA else SILENT  # the kernel sends few refusals a second
    if door.kind == "Outside" and not client.node and not _let_in(spec, client):
        return SILENT
    eligible = [one for one in backends if _eligible(spec, client, door, one)]
    eligible = _preferred(facts, spec, _chooser(facts, client, door), eligible)
    if not eligible:
        return SILENT
    same, taste = spec["sessionAffinity"] == "ClientIP", _by_taste(facts, spec, client, door)
    peers = {one.name: _peers(facts, spec, client, door, one) for one in eligible}
    if facts.direct and not client.node and door.kind != "ClusterIP" and protocol == "TCP":
        peers |= {one.name: client.addresses for one in eligible if not one.on_host}
    return Expected(peers, everybody=not same and not taste, same=same, optional=taste)


def _listed(facts: Facts, spec: dict[str, Any]) -> list[Place]:
    """Who is a backend at all."""
    early = spec.get("publishNotReadyAddresses", False)
    return [one for one in facts.backends.get(spec["selector"]["app"], []) if one.ready or early]


def host_port(facts: Facts, backend: Place, client: Place, door: Door) -> Expected:
    """The port of a node that belongs to one pod of it; on other nodes there is nothing."""
    if door.node != backend.node:
        return SILENT
    seen = client.addresses if not client.node else client.addresses | _on_the_way(facts, client, door)
    return Expected({backend.name: seen})


def _let_in(spec: dict[str, Any], client: Place) -> bool:
    ranges = [ipaddress.ip_network(text) for text in spec.get("loadBalancerSourceRanges", [])]
    addresses = [ipaddress.ip_address(text) for text in client.addresses]
    return not ranges or any(address in network for address in addresses for network in ranges)


def _eligible(spec: dict[str, Any], client: Place, door: Door, backend: Place) -> bool:
    if door.kind == "ClusterIP":
        return spec.get("internalTrafficPolicy") != "Local" or backend.node == (client.node or door.node)
    return client.node != "" or spec.get("externalTrafficPolicy") != "Local" or backend.node == door.node


def _chooser(facts: Facts, client: Place, door: Door) -> str:
    """The node that chooses the backend: with kube-proxy the one whose port is asked, wherever from."""
    at_door = facts.network is Network.KUBE_PROXY and door.kind == "NodePort"
    return door.node if at_door or not client.node else client.node


def _preferred(facts: Facts, spec: dict[str, Any], node: str, backends: list[Place]) -> list[Place]:
    """Those on the node, else those in its zone, else all; as far as the service asks for it."""
    wish = spec.get("trafficDistribution") if facts.topology else None
    own = [one for one in backends if one.node == node] if wish == "PreferSameNode" else []
    near = [one for one in backends if facts.zones.get(one.node) == facts.zones.get(node)] if wish else []
    return own or near or backends


def _by_taste(facts: Facts, spec: dict[str, Any], client: Place, door: Door) -> bool:
    """Local, and another node is asked from inside. To kube-proxy a node then comes from outside; a pod is sent on to
    all backends, but those on a third node answer it directly, and it does not know them."""
    local = spec.get("externalTrafficPolicy") == "Local" and door.kind == "NodePort"
    return facts.network is Network.KUBE_PROXY and local and client.node not in ("", door.node)


def _peers(facts: Facts, spec: dict[str, Any], client: Place, door: Door, backend: Place) -> frozenset[str]:
    if not client.node:
        return _peers_of_the_world(facts, spec, client, door, backend)
    seen = client.addresses
    if facts.network is Network.KUBE_PROXY:
        return seen | _on_the_way(facts, client, door)
    if backend.name == client.name:
        return seen | HAIRPIN
    return seen | facts.nodes[client.node] if backend.on_host else seen


def _peers_of_the_world(
    facts: Facts, spec: dict[str, Any], client: Place, door: Door, backend: Place
) -> frozenset[str]:
    """Local keeps the client's address. Else it is the node's, so that the answer comes back through it; a backend on
    that very node may see either."""
    if door.kind != "ClusterIP" and spec.get("externalTrafficPolicy") == "Local":
        return client.addresses
    through = facts.nodes[door.node]
    return through | client.addresses if backend.node == door.node else through


def _on_the_way(facts: Facts, client: Place, door: Door) -> frozenset[str]:
    return facts.nodes[client.node] | facts.nodes.get(door.node, frozenset())
