"""From the EndpointSlices of a Service to the backends of its ports. Pure; used by frontends.py."""

from collections.abc import Iterable

from seta_operator.store import facts

# Of two slices that list one address (an endpoint that moves between slices), the livelier state counts.
LIVELIEST = ("active", "terminating", "terminating-not-serving")


def of(port: facts.ServicePort, slices: Iterable[facts.EndpointSlice]) -> list[facts.JSON]:
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
    found: facts.JSON = {"port": port, "node": endpoint.node, "state": state}
    if endpoint.zone:
        found["zone"] = endpoint.zone
    if endpoint.for_zones:
        found["zones"] = sorted(endpoint.for_zones)
    if endpoint.for_nodes:
        found["nodes"] = sorted(endpoint.for_nodes)
    return [{"address": address, **found} for address in endpoint.addresses]


def _state(endpoint: facts.BackendEndpoint) -> str | None:
    """State of a backend, or None for an endpoint that is not ready and so none.

    One that is ready counts, terminating or not: so the cluster marks those of publishNotReadyAddresses.
    """
    if endpoint.ready:
        return "active"
    if endpoint.terminating:
        return "terminating" if endpoint.serving else "terminating-not-serving"
    return None


def _rank(backend: facts.JSON) -> int:
    return LIVELIEST.index(backend["state"])
