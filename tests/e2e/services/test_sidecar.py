"""A proxy beside an application is told where the application wanted to go, unless the pod says that it need not be."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.services.ground import Ground
from tests.e2e.steps import TOOLBOX, Bench, eventually, pod

NODE, PORT, USER = "k8s-s", 15001, 1337
SIDECAR = pathlib.Path(__file__).with_name("sidecar.py").read_text()
REDIRECT = f"iptables -t nat -A OUTPUT -p tcp -m owner ! --uid-owner {USER} -j REDIRECT --to-ports {PORT}"
NAMES = ("meshed", "at-sockets")


def meshed(name: str, annotations: dict[str, str]) -> dict[str, Any]:
    """The name of its container is what tells a sidecar."""
    made = pod(name, NODE)
    made["metadata"]["annotations"] = annotations
    command = ["python3", "-c", SIDECAR, str(PORT), name]
    container = {"name": "istio-proxy", "image": TOOLBOX, "command": command, "imagePullPolicy": "IfNotPresent"}
    made["spec"]["containers"].append({**container, "securityContext": {"runAsUser": USER}})
    return made


@pytest.fixture(scope="module")
def addresses(bench: Bench) -> Iterator[dict[str, str]]:
    pods = [meshed(NAMES[0], {}), meshed(NAMES[1], {"seta.dev/socket-lb": "true"})]
    yield bench.start(*pods)
    bench.delete(*pods)


@pytest.fixture(scope="module")
def redirected(bench: Bench, addresses: dict[str, str]) -> dict[str, str]:
    """As a mesh's CNI plugin does it: from the node, for the pod."""
    for name in addresses:
        inside = f"nsenter -n -t $(pgrep -of '[p]ython3 .* {PORT} {name}')"
        bench.cluster.exec(NODE, "sh", "-c", f"{inside} {REDIRECT}")
    return addresses


def said(bench: Bench, name: str, address: str) -> list[str]:
    """What the sidecar says, who served, and whom he saw."""
    return bench.shell(name, f"nc -w 2 {address} 80 </dev/null").stdout.split()


def test_a_sidecar_sees_the_service_and_gets_through(services_ground: Ground, bench: Bench, redirected: dict[str, str]):
    address = services_ground.services["cluster"]["spec"]["clusterIP"]
    wanted, server, seen = eventually(lambda: said(bench, "meshed", address), "the service answers")
    assert (wanted, seen) == (f"{address}:80", redirected["meshed"])
    assert server in ("back-1", "back-2")


def test_a_pod_may_have_its_sockets_translated_all_the_same(
    services_ground: Ground, bench: Bench, redirected: dict[str, str]
):
    address = services_ground.services["cluster"]["spec"]["clusterIP"]
    backends = {next(iter(one.addresses)): one.name for one in services_ground.facts.backends["back"]}
    wanted, server, seen = eventually(lambda: said(bench, "at-sockets", address), "the service answers")
    assert (backends[wanted.removesuffix(":7000")], seen) == (server, redirected["at-sockets"])


def test_people_see_where_services_are_translated_and_why(bench: Bench, addresses: dict[str, str]):
    rows = bench.cluster.seta("endpoint", "list", "--node", NODE).splitlines()
    told = {name: next(row for row in rows if addresses[name] in row.split()) for name in NAMES}
    assert "Packet (istio-proxy)" in told["meshed"]
    assert "Socket" in told["at-sockets"]
