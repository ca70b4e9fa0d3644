"""healthCheckNodePort as whoever balances before the nodes asks it: what is answered, and what is expected.

One expectation, asked of Seta and of the real kube-proxy.
"""

import dataclasses
import http

from tests.e2e.services.ground import Ground
from tests.e2e.services.manifests import NAMESPACE
from tests.e2e.steps import eventually

SERVICE = "balanced-local"  # externalTrafficPolicy Local
LOCAL = {"k8s-s": 0, "k8s-w1": 1, "k8s-w2": 1}  # node -> its backends
PATHS = ("/", "/healthz")  # every one is answered alike
OF_THE_CONNECTION = {"date", "connection"}  # headers that say nothing of the service


@dataclasses.dataclass(frozen=True)
class Answer:
    """headers: by their names in small letters."""

    status: int
    headers: dict[str, str]
    body: str


def expected(local: int) -> Answer:
    """Of a node with so many backends."""
    body = (
        f'{{\n\t"service": {{\n\t\t"namespace": "{NAMESPACE}",\n\t\t"name": "{SERVICE}"\n\t}},\n'
        f'\t"localEndpoints": {local},\n\t"serviceProxyHealthy": true\n}}'
    )
    headers = {
        "content-type": "application/json",
        "x-content-type-options": "nosniff",
        "x-load-balancing-endpoint-weight": str(local),
        "content-length": str(len(body)),
    }
    return Answer(http.HTTPStatus.OK if local else http.HTTPStatus.SERVICE_UNAVAILABLE, headers, body)


def asked(ground: Ground, node: str, path: str) -> Answer | None:
    """From outside; None: nobody answers."""
    port = ground.services[SERVICE]["spec"]["healthCheckNodePort"]
    address = next(one for one in ground.facts.nodes[node] if one.startswith("192.168.10."))
    done = ground.cluster.try_exec("world", "curl", "-si", "--max-time", "2", f"http://{address}:{port}{path}")
    if done.returncode:
        return None
    head, _, body = done.stdout.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    headers = {name.lower(): value for name, value in pairs if name.lower() not in OF_THE_CONNECTION}
    return Answer(int(first.split()[1]), headers, body)


def settled(ground: Ground) -> None:
    """Every node says of itself what it should, on every path."""
    for node, local in LOCAL.items():
        wanted = expected(local)
        eventually(lambda it=node, end=wanted.status: _status(ground, it) == end, f"{node} says {wanted.status}")
        for path in PATHS:
            assert asked(ground, node, path) == wanted, f"{node} on {path}"


def _status(ground: Ground, node: str) -> int:
    found = asked(ground, node, PATHS[0])
    return found.status if found else 0
