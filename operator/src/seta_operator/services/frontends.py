"""From a Service and its EndpointSlices to the ServiceTable. Pure but for the numbers; used by tables.py.

What a table says of a service is the same for every node: which of the backends a node uses (traffic policies,
topology) is for its agent to find out.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from seta_operator.services.numbers import Numbers
from seta_operator.store import facts

EXTERNAL = ("NodePort", "LoadBalancer")  # types of Service that have node ports
TYPE_ANNOTATION = "service.cilium.io/type"
ALGORITHM_ANNOTATION, ALGORITHMS = "service.cilium.io/lb-algorithm", ("random", "maglev")
MODE_ANNOTATION, MODES = "service.cilium.io/forwarding-mode", ("snat", "dsr")
RANGES_ANNOTATION = "service.cilium.io/src-ranges-policy"
# Of two slices that list one address (an endpoint that moves between slices), the livelier state counts.
LIVELIEST = ("active", "terminating", "terminating-not-serving")
Frontend = tuple[str, int, str]  # address, port, protocol


@dataclass
class FrontendNumbers:
    """Cluster-wide stable number (reverse NAT index) of each frontend."""

    numbers: Numbers = field(default_factory=lambda: Numbers(1, 65535))
    given: dict[Frontend, int] = field(default_factory=dict)  # frontend -> number

    def claim(self, frontend: Frontend, number: int) -> None:
        """Take over what was given before a restart."""
        if frontend not in self.given and self.numbers.claim(number):
            self.given[frontend] = number

    def give(self, frontend: Frontend) -> int:
        """The frontend's number.

        Raises:
            ExhaustedError: the cluster has 65535 frontends.

        """
        if frontend not in self.given:
            self.given[frontend] = self.numbers.take()
        return self.given[frontend]

    def release(self, frontend: Frontend) -> None:
        """The frontend is no more."""
        number = self.given.pop(frontend, None)
        if number is not None:
            self.numbers.release(number)


def served(service: facts.Service | None) -> bool:
    """Whether the service gets a table: it has a cluster address, and no other proxy is asked to serve it."""
    return service is not None and bool(service.cluster_ips) and not service.foreign and service.type != "ExternalName"


def of(service: facts.Service) -> list[Frontend]:
    """Every frontend of a service."""
    return [
        (address, number, port.protocol) for port in service.ports for _, address, number in _addresses(service, port)
    ]


def table(
    name: str, service: facts.Service, slices: Iterable[facts.EndpointSlice], numbers: FrontendNumbers
) -> facts.JSON:
    """Content of the ServiceTable; what is usual is left out."""
    every = list(slices)
    owner = {"apiVersion": "v1", "kind": "Service", "name": name, "uid": service.uid}
    ports = [
        {
            "name": port.name,
            "protocol": port.protocol,
            "frontends": [
                {"type": kind, "address": address, "port": number, "id": numbers.give((address, number, port.protocol))}
                for kind, address, number in _addresses(service, port)
            ],
            "backends": backends(port, every),
        }
        for port in service.ports
    ]
    return {
        "metadata": {"ownerReferences": [owner]},
        "spec": {"type": service.type, **_options(service), "ports": ports},
    }


def _addresses(service: facts.Service, port: facts.ServicePort) -> list[tuple[str, str, int]]:
    """(type, address, port) of each frontend of a port. An address that is there twice counts as what comes first."""
    families = {_any(address) for address in service.cluster_ips}
    found = [("ClusterIP", address, port.port) for address in service.cluster_ips]
    if service.type in EXTERNAL and port.node_port and _wants(service, "NodePort"):
        found += [("NodePort", address, port.node_port) for address in sorted(families)]
    if service.type == "LoadBalancer" and _wants(service, "LoadBalancer"):
        vips = [one.address for one in service.ingress if one.address and not one.proxied]
        found += [("LoadBalancer", address, port.port) for address in vips]
    found += [("ExternalIPs", address, port.port) for address in service.external_ips]
    unique: dict[tuple[str, int], str] = {}  # (address, port) -> type
    for kind, address, number in found:
        unique.setdefault((address, number), kind)
    return [(kind, address, number) for (address, number), kind in unique.items()]


def _any(address: str) -> str:
    """The address that stands for all of a node's, of the same family."""
    return "::" if ":" in address else "0.0.0.0"  # noqa: S104 (nobody listens there)


def _wants(service: facts.Service, kind: str) -> bool:
    """Its annotation may ask for one type of frontend only."""
    return service.annotations.get(TYPE_ANNOTATION, kind) == kind


def _options(service: facts.Service) -> facts.JSON:
    algorithm = service.annotations.get(ALGORITHM_ANNOTATION, "")
    mode = service.annotations.get(MODE_ANNOTATION, "")
    options = {
        "externalTrafficPolicy": "Local" if service.external_local and service.type in EXTERNAL else "",
        "internalTrafficPolicy": "Local" if service.internal_local else "",
        "sessionAffinitySeconds": service.affinity_seconds,
        "sourceRanges": _ranges(service.source_ranges),
        "sourceRangesPolicy": "deny" if service.annotations.get(RANGES_ANNOTATION) == "deny" else "",
        "healthCheckNodePort": service.health_check_node_port if service.external_local else 0,
        "algorithm": algorithm if algorithm in ALGORITHMS else "",
        "forwardingMode": mode if mode in MODES else "",
    }
    return {key: value for key, value in options.items() if value}


def _ranges(texts: Iterable[str]) -> list[str]:
    """In one spelling; the API server lets nothing else through."""
    return sorted({str(ipaddress.ip_network(text.strip(), strict=False)) for text in texts})


def backends(port: facts.ServicePort, slices: Iterable[facts.EndpointSlice]) -> list[facts.JSON]:
    """Backends of one service port, by address; slices name their ports as the service does."""
    found: dict[tuple[str, int], facts.JSON] = {}  # (address, port) -> backend
    for piece in slices:
        for target in piece.ports:
            if (target.name, target.protocol) != (port.name, port.protocol):
                continue
            for endpoint in piece.endpoints:
                for backend in _backends(endpoint, target.port):
                    key = backend["address"], backend["port"]
                    if key not in found or _rank(backend) < _rank(found[key]):
                        found[key] = backend
    return [found[key] for key in sorted(found)]


def _backends(endpoint: facts.BackendEndpoint, port: int) -> list[facts.JSON]:
    state = _state(endpoint)
    if state is None:
        return []
    hints = {"zones": list(endpoint.for_zones), "nodes": list(endpoint.for_nodes)}
    hints = {key: value for key, value in hints.items() if value}
    return [
        {"address": address, "port": port, "node": endpoint.node, "zone": endpoint.zone, "state": state, **hints}
        for address in endpoint.addresses
    ]


def _state(endpoint: facts.BackendEndpoint) -> str | None:
    """State of a backend, or None for an endpoint that is not ready and so none."""
    if endpoint.terminating:
        return "terminating" if endpoint.serving else "terminating-not-serving"
    return "active" if endpoint.ready else None


def _rank(backend: facts.JSON) -> int:
    return LIVELIEST.index(backend["state"])
