"""Which addresses a Service answers on, and what its spec asks for: its ServiceTable. Pure; used by tables.py.

What a table says of a service is the same for every node: which of the backends a node uses (traffic policies,
topology) and at which of its addresses a node port answers is for its agent to find out.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from seta_operator.services import backends, spelling
from seta_operator.store import facts

EXTERNAL = ("NodePort", "LoadBalancer")  # types of Service that have node ports
PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
TYPE_ANNOTATION, TYPES = "service.cilium.io/type", ("ClusterIP", "NodePort", "LoadBalancer")
ALGORITHM_ANNOTATION, ALGORITHMS = "service.cilium.io/lb-algorithm", ("random", "maglev")
MODE_ANNOTATION, MODES = "service.cilium.io/forwarding-mode", ("snat", "dsr")
RANGES_ANNOTATION, RANGES_POLICIES = "service.cilium.io/src-ranges-policy", ("allow", "deny")
Frontend = tuple[str, int, str]  # address, port, protocol


class Options(NamedTuple):
    """What the cluster's settings say about services."""

    proxy_name: str = ""  # services with this label are served; "": those without the label
    algorithm_annotation: bool = False  # whether a service may choose its algorithm
    mode_annotation: bool = False  # whether a service may choose its forwarding mode


def is_served(service: facts.Service, proxy_name: str) -> bool:
    """Whether the service gets a table: it has a cluster address, and no other proxy is asked to serve it."""
    if not service.cluster_ips or service.type == "ExternalName":
        return False
    if proxy_name:
        return service.labels.get(PROXY_LABEL) == proxy_name
    return PROXY_LABEL not in service.labels


def of(service: facts.Service) -> dict[Frontend, str]:
    """Every frontend of a service: frontend -> type. One that is there twice counts as what comes first."""
    found: dict[Frontend, str] = {}
    for port in service.ports:
        for frontend, kind in _of_port(service, port):
            found.setdefault(frontend, kind)
    return found


def outer(service: facts.Service) -> dict[str, set[str]]:
    """The addresses that somebody outside must be told of: address -> types it has, LoadBalancer or ExternalIPs."""
    found: dict[str, set[str]] = {}
    for port in service.ports:
        for (address, _, _), kind in _of_port(service, port):
            if kind in ("LoadBalancer", "ExternalIPs"):
                found.setdefault(address, set()).add(kind)
    return found


def table(
    name: str,
    service: facts.Service,
    slices: Collection[facts.EndpointSlice],
    numbers: Mapping[Frontend, int],
    options: Options,
    *,
    before: facts.JSON,
) -> facts.JSON:
    """Content of the ServiceTable; what is usual is left out.

    `numbers`: of the frontends that it has. `before`: the content it has now; {}: there is none.
    """
    owner = {"apiVersion": "v1", "kind": "Service", "name": name, "uid": service.uid}
    left = dict(numbers)
    ports = [
        {
            "name": port.name,
            "protocol": port.protocol,
            "frontends": [
                {"type": kind, "address": frontend[0], "port": frontend[1], "id": left.pop(frontend)}
                for frontend, kind in _of_port(service, port)
                if frontend in left
            ],
            "backends": backends.of(port, slices, backends.listed(before, port)),
        }
        for port in service.ports
    ]
    return {
        "metadata": {"ownerReferences": [owner]},
        "spec": {"type": service.type, **_spec(service, options), "ports": ports},
    }


def _of_port(service: facts.Service, port: facts.ServicePort) -> list[tuple[Frontend, str]]:
    """(frontend, type) of a port, of the service's own address families only."""
    clusters = spelling.canonical(service.cluster_ips)
    anything = list(dict.fromkeys(_any(address) for address in clusters))
    found: list[tuple[str, str, int]] = []
    if _wants(service, "ClusterIP"):
        found += [("ClusterIP", address, port.port) for address in clusters]
    if service.type in EXTERNAL and port.node_port and _wants(service, "NodePort"):
        found += [("NodePort", address, port.node_port) for address in sorted(anything)]
    if service.type == "LoadBalancer" and _wants(service, "LoadBalancer"):
        vips = spelling.canonical(one.address for one in service.ingress if not one.proxied)
        found += [("LoadBalancer", address, port.port) for address in vips]
    found += [("ExternalIPs", address, port.port) for address in spelling.canonical(service.external_ips)]
    return [((address, number, port.protocol), kind) for kind, address, number in found if _any(address) in anything]


def _any(address: str) -> str:
    """The address that stands for all of a node's, of the same family."""
    return "::" if ":" in address else "0.0.0.0"  # noqa: S104 (nobody listens there)


def _wants(service: facts.Service, kind: str) -> bool:
    """Its annotation may ask for one type of frontend only; external IPs were named by themselves."""
    return _annotation(service, TYPE_ANNOTATION, TYPES) in ("", kind)


def _annotation(service: facts.Service, name: str, values: Collection[str]) -> str:
    """The value as we spell it; nothing where it is absent or none of them."""
    wanted = service.annotations.get(name, "").strip().casefold()
    return next((value for value in values if value.casefold() == wanted), "")


def _spec(service: facts.Service, options: Options) -> facts.JSON:
    outside = service.type in EXTERNAL or bool(service.external_ips)
    algorithm = _annotation(service, ALGORITHM_ANNOTATION, ALGORITHMS) if options.algorithm_annotation else ""
    mode = _annotation(service, MODE_ANNOTATION, MODES) if options.mode_annotation else ""
    ranges = _ranges(service.source_ranges)
    policy = _annotation(service, RANGES_ANNOTATION, RANGES_POLICIES) if ranges else ""
    found = {
        "externalTrafficPolicy": "Local" if service.external_local and outside else "",
        "internalTrafficPolicy": "Local" if service.internal_local else "",
        "sessionAffinitySeconds": service.affinity_seconds,
        "sourceRanges": ranges,
        "sourceRangesPolicy": "deny" if policy == "deny" else "",
        "healthCheckNodePort": service.health_check_node_port if service.external_local else 0,
        "algorithm": algorithm,
        "forwardingMode": mode,
    }
    return {key: value for key, value in found.items() if value}


def _ranges(texts: Iterable[str]) -> list[str]:
    """In one spelling. The API server lets nothing else through but leading zeros."""
    found = set()
    for text in texts:
        address, slash, length = text.strip().partition("/")
        found.add(str(ipaddress.ip_network(f"{spelling.address(address)}{slash}{length}", strict=False)))
    return sorted(found)
