"""From the EndpointSlices of a Service to the backends of its ports. Pure; used by frontends.py.

A backend that turns not ready keeps its connections, as kube-proxy has it: it stays in the table as `quarantined`, and
nothing new goes to it. Only the table itself tells whom that concerns. An endpoint that never was ready has no
connections and is left out, so that a pod that starts is one write. UDP clients are to forget it: they notice nothing.
"""

from collections.abc import Collection, Iterable

from seta_operator.services import spelling
from seta_operator.store import facts

# Of two slices that list one address (an endpoint that moves between slices), the livelier state counts.
LIVELIEST = ("active", "terminating", "quarantined", "terminating-not-serving")
Place = tuple[str, int]  # address, port


def listed(table: facts.JSON, port: facts.ServicePort) -> frozenset[Place]:
    """The backends that a ServiceTable (of which there may be nothing) has for a service port."""
    ports = table.get("spec", {}).get("ports", [])
    return frozenset(
        (one["address"], one["port"])
        for item in ports
        if (item["name"], item["protocol"]) == (port.name, port.protocol)
        for one in item["backends"]
    )


def of(
    port: facts.ServicePort, slices: Iterable[facts.EndpointSlice], before: Collection[Place] = ()
) -> list[facts.JSON]:
    """Backends of one service port, by address; slices name their ports as the service does. `before`: `listed`."""
    found: dict[Place, facts.JSON] = {}
    kept = before if port.protocol != "UDP" else ()
    for piece in slices:
        for target in piece.ports:
            if (target.name, target.protocol) != (port.name, port.protocol):
                continue
            for endpoint in piece.endpoints:
                for backend in _backends(endpoint, target.port):
                    key = backend["address"], backend["port"]
                    if backend["state"] == "quarantined" and key not in kept:
                        continue
                    if key not in found or _rank(backend) < _rank(found[key]):
                        found[key] = backend
    return [found[key] for key in sorted(found)]


def _backends(endpoint: facts.BackendEndpoint, port: int) -> list[facts.JSON]:
    found: facts.JSON = {"port": port, "node": endpoint.node, "state": _state(endpoint)}
    if endpoint.zone:
        found["zone"] = endpoint.zone
    if endpoint.for_zones:
        found["zones"] = sorted(endpoint.for_zones)
    if endpoint.for_nodes:
        found["nodes"] = sorted(endpoint.for_nodes)
    return [{"address": address, **found} for address in spelling.canonical(endpoint.addresses)]


def _state(endpoint: facts.BackendEndpoint) -> str:
    """One that is ready counts, terminating or not: so the cluster marks those of publishNotReadyAddresses."""
    if endpoint.ready:
        return "active"
    if endpoint.terminating:
        return "terminating" if endpoint.serving else "terminating-not-serving"
    return "quarantined"


def _rank(backend: facts.JSON) -> int:
    return LIVELIEST.index(backend["state"])
