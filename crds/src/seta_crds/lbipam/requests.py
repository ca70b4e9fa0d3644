"""What a Service asks for, and with whom it may share an address. Used by allocation.py; made by its callers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from seta_crds.lbipam import addresses
from seta_crds.lbipam.addresses import Address
from seta_crds.lbipam.pools import NAME, NAMESPACE

Key = tuple[str, str]  # namespace, name of a Service
CLASSES = (
    "io.cilium/bgp-control-plane",
    "io.cilium/l2-announcer",
)  # loadBalancerClasses that are served whatever is set
IPS = ("lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips")  # each annotation with its older name
SHARING_KEY = ("lbipam.cilium.io/sharing-key", "io.cilium/lb-ipam-sharing-key")
SHARING_NAMESPACES = ("lbipam.cilium.io/sharing-cross-namespace", "io.cilium/lb-ipam-sharing-cross-namespace")
FAMILIES = {"IPv4": 4, "IPv6": 6}


class Problem(NamedTuple):
    """Why a Service has not got what it asks for."""

    reason: str  # for programs
    message: str  # for people


class ServicePort(Protocol):
    """A port of a Service."""

    @property
    def port(self) -> int: ...
    @property
    def protocol(self) -> str: ...


class Ingress(Protocol):
    """An address in a Service's status."""

    @property
    def address(self) -> str: ...


class Service(Protocol):
    """What is read of a Service: the operator's facts have it, and the preview's."""

    @property
    def type(self) -> str: ...
    @property
    def ports(self) -> Sequence[ServicePort]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def selector(self) -> Mapping[str, str] | None: ...
    @property
    def annotations(self) -> Mapping[str, str]: ...
    @property
    def created(self) -> str: ...
    @property
    def ingress(self) -> Sequence[Ingress]: ...
    @property
    def external_local(self) -> bool: ...
    @property
    def load_balancer_class(self) -> str | None: ...
    @property
    def load_balancer_ip(self) -> str: ...
    @property
    def ip_families(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Sharing:
    """What must fit for two Services to have one address."""

    key: str  # "" = shares with nobody
    namespace: str
    namespaces: frozenset[str]  # further ones; "*" = all
    ports: frozenset[tuple[int, str]]  # port, protocol
    local: bool  # externalTrafficPolicy
    selector: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    key: Key
    created: str
    labels: dict[str, str]  # `k8s:key` -> value, its name and namespace among them
    families: tuple[int, ...]
    wanted: tuple[Address, ...]  # those it asks for by name
    wrong: tuple[Problem, ...]  # what it asks for in vain, whatever the pools
    sharing: Sharing
    shown: tuple[Address, ...]  # in its status

    @property
    def rank(self) -> tuple[str, Key]:
        """The older one is served first."""
        return self.created, self.key


def responsible(service: Service, default_ipam: str) -> bool:
    """Whether its addresses come from pools; `default_ipam`: who serves Services without a loadBalancerClass."""
    if service.type != "LoadBalancer":
        return False
    if service.load_balancer_class is None:
        return default_ipam == "lbipam"
    return service.load_balancer_class in CLASSES


def request(key: Key, service: Service) -> Request:
    """What a Service asks for that we are responsible for."""
    families = tuple(FAMILIES[name] for name in service.ip_families if name in FAMILIES) or (4,)
    wanted, wrong = _wanted(service, families)
    labels = {f"k8s:{name}": value for name, value in service.labels.items()}
    shown = (addresses.parse(one.address) for one in service.ingress)
    return Request(
        key=key,
        created=service.created,
        labels={**labels, f"k8s:{NAMESPACE}": key[0], f"k8s:{NAME}": key[1]},
        families=families,
        wanted=wanted,
        wrong=wrong,
        sharing=_sharing(key[0], service),
        shown=tuple(one for one in shown if one is not None),
    )


def _wanted(service: Service, families: tuple[int, ...]) -> tuple[tuple[Address, ...], tuple[Problem, ...]]:
    asked = [("spec.loadBalancerIP", service.load_balancer_ip)] if service.load_balancer_ip else []
    asked += [(IPS[0], text) for text in _annotation(service, IPS).split(",") if text.strip()]
    wanted: dict[Address, None] = {}
    wrong = []
    for where, text in asked:
        found = addresses.parse(text)
        if found is None:
            wrong.append(Problem("bad_request", f"{where} asks for '{text.strip()}', which is no address"))
        elif found.family not in families:
            named = " and ".join(name for name, family in FAMILIES.items() if family in families)
            wrong.append(Problem("bad_request", f"{where} asks for '{found.text}', and the Service is {named} only"))
        else:
            wanted[found] = None
    return tuple(wanted), tuple(wrong)


def _annotation(service: Service, names: Sequence[str]) -> str:
    return next((service.annotations[name] for name in names if name in service.annotations), "")


def _sharing(namespace: str, service: Service) -> Sharing:
    namespaces = _annotation(service, SHARING_NAMESPACES).split(",")
    return Sharing(
        key=_annotation(service, SHARING_KEY),
        namespace=namespace,
        namespaces=frozenset(name.strip() for name in namespaces if name.strip()),
        ports=frozenset((port.port, port.protocol) for port in service.ports),
        local=service.external_local,
        selector=tuple(sorted((service.selector or {}).items())),
    )


def obstacle(one: Sharing, other: Sharing) -> str:
    """Why these two may not have one address; nothing: they may. Symmetric."""
    if not one.key or not other.key:
        return "not both have a sharing key"
    if one.key != other.key:
        return "their sharing keys are different"
    if one.namespace != other.namespace and not (_lets(one, other) and _lets(other, one)):
        return "they are of different namespaces, and not both let the other's share"
    if both := sorted(one.ports & other.ports):
        return f"both have port {both[0][0]}/{both[0][1]}"
    if one.local != other.local:
        return "their externalTrafficPolicy is different"
    if one.local and not one.selector:
        return "externalTrafficPolicy is Local and there is no selector"
    if one.local and one.selector != other.selector:
        return "externalTrafficPolicy is Local and their selectors are different"
    return ""


def _lets(one: Sharing, other: Sharing) -> bool:
    return "*" in one.namespaces or other.namespace in one.namespaces


def facts_of(raw: Mapping[str, Any]) -> Service:
    """A Service of the API server's JSON, for callers without facts of their own."""
    return _Raw.of(raw)


class _RawPort(NamedTuple):
    port: int
    protocol: str


class _RawIngress(NamedTuple):
    address: str


class _Raw(NamedTuple):
    type: str
    ports: tuple[_RawPort, ...]
    labels: dict[str, str]
    selector: dict[str, str] | None
    annotations: dict[str, str]
    created: str
    ingress: tuple[_RawIngress, ...]
    external_local: bool
    load_balancer_class: str | None
    load_balancer_ip: str
    ip_families: tuple[str, ...]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "_Raw":
        meta, spec = raw["metadata"], raw.get("spec") or {}
        ports = (_RawPort(one["port"], one.get("protocol") or "TCP") for one in spec.get("ports") or ())
        ingress = ((raw.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        return cls(
            type=spec.get("type") or "ClusterIP",
            ports=tuple(ports),
            labels=meta.get("labels") or {},
            selector=spec.get("selector"),
            annotations=meta.get("annotations") or {},
            created=meta.get("creationTimestamp") or "",
            ingress=tuple(_RawIngress(one.get("ip") or "") for one in ingress),
            external_local=spec.get("externalTrafficPolicy") == "Local",
            load_balancer_class=spec.get("loadBalancerClass"),
            load_balancer_ip=spec.get("loadBalancerIP") or "",
            ip_families=tuple(spec.get("ipFamilies") or ()),
        )
