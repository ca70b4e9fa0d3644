"""From a Service and its EndpointSlices to the ServiceTable. Pure but for the numbers; used by tables.py.

Now ClusterIP for TCP and UDP. Every further type of service adds frontends (with their type and flags) here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from seta_operator.services.numbers import Numbers
from seta_operator.store import facts

PROTOCOLS = ("TCP", "UDP")
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
    return [(address, port.port, port.protocol) for port in _ports(service) for address in service.cluster_ips]


def table(
    name: str, service: facts.Service, slices: Iterable[facts.EndpointSlice], numbers: FrontendNumbers
) -> facts.JSON:
    """Content of the ServiceTable."""
    every = list(slices)
    owner = {"apiVersion": "v1", "kind": "Service", "name": name, "uid": service.uid}
    ports = [
        {
            "name": port.name,
            "protocol": port.protocol,
            "frontends": [
                {
                    "type": "ClusterIP",
                    "address": address,
                    "port": port.port,
                    "id": numbers.give((address, port.port, port.protocol)),
                    "flags": [],
                }
                for address in service.cluster_ips
            ],
            "backends": backends(port, every),
        }
        for port in _ports(service)
    ]
    return {"metadata": {"ownerReferences": [owner]}, "spec": {"type": service.type, "ports": ports}}


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


def _ports(service: facts.Service) -> list[facts.ServicePort]:
    return [port for port in service.ports if port.protocol in PROTOCOLS]


def _backends(endpoint: facts.BackendEndpoint, port: int) -> list[facts.JSON]:
    state = _state(endpoint)
    if state is None:
        return []
    return [
        {"address": address, "port": port, "node": endpoint.node, "zone": endpoint.zone, "state": state}
        for address in endpoint.addresses
    ]


def _state(endpoint: facts.BackendEndpoint) -> str | None:
    """State of a backend, or None for an endpoint that is not ready and so none."""
    if endpoint.terminating:
        return "terminating" if endpoint.serving else "terminating-not-serving"
    return "active" if endpoint.ready else None


def _rank(backend: facts.JSON) -> int:
    return LIVELIEST.index(backend["state"])
