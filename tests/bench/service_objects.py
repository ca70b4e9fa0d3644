"""Services with five pods each, by the thousand: as users write them, and as agents see their tables."""

from typing import Any

JSON = dict[str, Any]
BACKENDS = 5
NODES = 50


def service(number: int) -> JSON:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {"metadata": {"name": f"s{number}"}, "spec": {"ports": ports}}


def endpoint_slice(number: int, ready: int = BACKENDS) -> JSON:
    """Of whose pods so many are ready."""
    name = f"s{number}"
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": n < ready}, "nodeName": node, "zone": zone}
            for n, (address, node, zone) in enumerate(_pods(number))
        ],
    }


def table(number: int, backends: int = BACKENDS, kind: str = "ClusterIP") -> JSON:
    """A ServiceTable with so many of its backends."""
    address = "0.0.0.0" if kind == "NodePort" else f"10.96.{number // 250}.{number % 250}"
    front = {"type": kind, "address": address, "port": 1000 + number if kind == "NodePort" else 80, "id": number + 1}
    listed = [
        {"address": address, "port": 8080, "node": node, "zone": zone, "state": "active"}
        for address, node, zone in _pods(number)[:backends]
    ]
    port = {"name": "http", "protocol": "TCP", "frontends": [front], "backends": listed}
    return {
        "metadata": {"namespace": "default", "name": f"s{number}", "resourceVersion": str(number + 1)},
        "spec": {"type": kind, "ports": [port]},
    }


def _pods(number: int) -> list[tuple[str, str, str]]:
    """(address, node, zone) of each."""
    first = number * BACKENDS
    return [
        (f"10.{n // 62500}.{n // 250 % 250}.{n % 250 + 1}", f"node-{n % NODES}", f"zone-{n % 3}")
        for n in range(first, first + BACKENDS)
    ]
