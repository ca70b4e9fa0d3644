"""What the operator keeps of each object: the facts its decisions are made of, and nothing else.

One reader per kind, called by the handlers at the edge: raw JSON in, a small value out. Two values are equal
when no decision would differ, so an event that changes nothing we care about wakes nobody.
"""

from dataclasses import dataclass, field
from typing import Any

from seta_crds import labels
from seta_crds.labels import Port

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    labels: dict[str, str]
    service_account: str
    on_network: bool  # has an address of its own: not hostNetwork, not finished
    named_ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    uid: str
    addresses: tuple[str, ...]  # InternalIPs
    labels: dict[str, str]
    cordoned: bool = False


@dataclass(frozen=True, slots=True)
class ServicePort:
    name: str
    protocol: str
    port: int
    node_port: int = 0  # 0 = none; of a Service only


@dataclass(frozen=True, slots=True)
class Ingress:
    """An address in a Service's status."""

    address: str  # "" = it has a host name only
    proxied: bool = False  # ipMode Proxy: whoever answers there is no node of ours


@dataclass(frozen=True, slots=True)
class Service:
    uid: str
    type: str
    cluster_ips: tuple[str, ...]  # without "None"
    ports: tuple[ServicePort, ...]
    labels: dict[str, str]
    selector: dict[str, str] | None  # None or empty: its addresses are somebody else's business
    annotations: dict[str, str] = field(default_factory=dict)  # those that are addressed to us, see OUR_ANNOTATIONS
    created: str = ""  # creationTimestamp, RFC 3339: sorts as text
    external_ips: tuple[str, ...] = ()
    ingress: tuple[Ingress, ...] = ()  # status.loadBalancer
    conditions: tuple[JSON, ...] = ()  # status.conditions
    external_local: bool = False  # externalTrafficPolicy Local
    internal_local: bool = False  # internalTrafficPolicy Local
    affinity_seconds: int = 0  # sessionAffinity ClientIP; 0 = none
    source_ranges: tuple[str, ...] = ()
    health_check_node_port: int = 0
    load_balancer_class: str | None = None
    load_balancer_ip: str = ""  # spec.loadBalancerIP
    ip_families: tuple[str, ...] = ()  # IPv4, IPv6


@dataclass(frozen=True, slots=True)
class BackendEndpoint:
    addresses: tuple[str, ...]
    ready: bool
    serving: bool
    terminating: bool
    node: str
    zone: str
    for_zones: tuple[str, ...] = ()  # hints: whom it is for; empty = everybody
    for_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    service: str  # name of the Service in the same namespace; "" = of none
    ports: tuple[ServicePort, ...]
    endpoints: tuple[BackendEndpoint, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    identity: int  # 0 = none yet
    labels: tuple[tuple[str, str], ...]  # of the identity, sorted
    networking: JSON
    named_ports: list[JSON] | None


@dataclass(frozen=True, slots=True)
class Policy:
    uid: str
    generation: int
    spec: Any
    specs: Any
    conditions: list[JSON] = field(compare=False)  # told to users, never read from them: no change to anybody


@dataclass(frozen=True, slots=True)
class CIDRGroup:
    labels: dict[str, str]
    cidrs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IPPool:
    created: str  # creationTimestamp
    spec: JSON
    conditions: list[JSON] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Owned:
    """An object that only the operator writes: what a write would set, and the error in its status."""

    content: JSON
    error: str = ""
    conditions: list[JSON] = field(default_factory=list)
    uid: str = field(default="", compare=False)
    generation: int = field(default=0, compare=False)


def pod(body: JSON) -> Pod:
    spec, phase = body.get("spec") or {}, (body.get("status") or {}).get("phase")
    return Pod(
        labels=body["metadata"].get("labels") or {},
        service_account=spec.get("serviceAccountName") or "",
        named_ports=labels.pod_ports(spec),
        on_network=not spec.get("hostNetwork", False) and phase not in ("Succeeded", "Failed"),
    )


def namespace(body: JSON) -> dict[str, str]:
    """Its labels."""
    return body["metadata"].get("labels") or {}


def node(body: JSON) -> Node:
    addresses = (body.get("status") or {}).get("addresses") or []
    return Node(
        uid=body["metadata"].get("uid", ""),
        addresses=tuple(item["address"] for item in addresses if item["type"] == "InternalIP"),
        labels=body["metadata"].get("labels") or {},
        cordoned=(body.get("spec") or {}).get("unschedulable") is True,
    )


OUR_ANNOTATIONS = ("service.cilium.io/", "lbipam.cilium.io/", "io.cilium/")


def service(body: JSON) -> Service:
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return Service(
        uid=meta.get("uid", ""),
        type=spec.get("type") or "ClusterIP",
        cluster_ips=tuple(address for address in addresses if address and address != "None"),
        ports=_ports(spec.get("ports")),
        labels=meta.get("labels") or {},
        selector=spec.get("selector"),
        annotations={k: v for k, v in (meta.get("annotations") or {}).items() if k.startswith(OUR_ANNOTATIONS)},
        created=meta.get("creationTimestamp") or "",
        external_ips=tuple(spec.get("externalIPs") or ()),
        ingress=tuple(
            Ingress(item.get("ip") or "", item.get("ipMode") == "Proxy")
            for item in (status.get("loadBalancer") or {}).get("ingress") or ()
        ),
        conditions=tuple(status.get("conditions") or ()),
        external_local=spec.get("externalTrafficPolicy") == "Local",
        internal_local=spec.get("internalTrafficPolicy") == "Local",
        affinity_seconds=_affinity(spec),
        source_ranges=tuple(spec.get("loadBalancerSourceRanges") or ()),
        health_check_node_port=spec.get("healthCheckNodePort") or 0,
        load_balancer_class=spec.get("loadBalancerClass"),
        load_balancer_ip=spec.get("loadBalancerIP") or "",
        ip_families=tuple(spec.get("ipFamilies") or ()),
    )


def _affinity(spec: JSON) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    return ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds") or 10800


def endpoint_slice(body: JSON) -> EndpointSlice:
    """One of names (FQDN) has no endpoint that a packet can go to."""
    named = body.get("addressType") == "FQDN"
    return EndpointSlice(
        service=(body["metadata"].get("labels") or {}).get("kubernetes.io/service-name", ""),
        ports=_ports(body.get("ports")),
        endpoints=() if named else tuple(_backend(item) for item in body.get("endpoints") or ()),
    )


def _ports(ports: list[JSON] | None) -> tuple[ServicePort, ...]:
    return tuple(
        ServicePort(item.get("name") or "", item.get("protocol") or "TCP", item["port"], item.get("nodePort") or 0)
        for item in ports or []
        if item.get("port")
    )


def _backend(item: JSON) -> BackendEndpoint:
    conditions = item.get("conditions") or {}
    ready = conditions.get("ready") is not False  # absent counts as ready
    hints = item.get("hints") or {}
    return BackendEndpoint(
        addresses=tuple(item.get("addresses") or ()),
        ready=ready,
        serving=conditions.get("serving", ready) is not False,
        terminating=conditions.get("terminating") is True,
        node=item.get("nodeName") or "",
        zone=item.get("zone") or "",
        for_zones=tuple(one["name"] for one in hints.get("forZones") or ()),
        for_nodes=tuple(one["name"] for one in hints.get("forNodes") or ()),
    )


def endpoint(body: JSON) -> Endpoint:
    status = body.get("status") or {}
    identity = status.get("identity") or {}
    return Endpoint(
        identity=identity.get("id") or 0,
        labels=tuple(sorted(labels.from_list(identity.get("labels") or ()).items())),
        networking=status.get("networking") or {},
        named_ports=status.get("named-ports"),
    )


def policy(body: JSON) -> Policy:
    meta = body["metadata"]
    return Policy(
        uid=meta.get("uid", ""),
        generation=meta.get("generation", 0),
        spec=body.get("spec"),
        specs=body.get("specs"),
        conditions=(body.get("status") or {}).get("conditions") or [],
    )


def cidr_group(body: JSON) -> CIDRGroup:
    cidrs = (body.get("spec") or {}).get("externalCIDRs") or ()
    return CIDRGroup(labels=body["metadata"].get("labels") or {}, cidrs=tuple(cidrs))


def ip_pool(body: JSON) -> IPPool:
    return IPPool(
        created=body["metadata"].get("creationTimestamp") or "",
        spec=body.get("spec") or {},
        conditions=(body.get("status") or {}).get("conditions") or [],
    )


def node_policy_status(body: JSON) -> dict[str, int]:
    """CompiledPolicy -> generation of its source that the node enforces."""
    return (body.get("status") or {}).get("enforced") or {}


def owned(body: JSON) -> Owned:
    content = {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    meta = body["metadata"]
    content["metadata"] = {key: meta[key] for key in ("labels", "annotations", "ownerReferences") if meta.get(key)}
    status = body.get("status") or {}
    error = ((status.get("ipam") or {}).get("operator-status") or {}).get("error", "")
    conditions = status.get("conditions") or []
    return Owned(content, error, conditions, meta.get("uid") or "", meta.get("generation") or 0)
