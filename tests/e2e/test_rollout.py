"""A real Deployment is scaled up and down and replaced pod by pod, and not one visit through its service fails."""

from collections.abc import Iterator

import pytest

from tests.e2e import graceful
from tests.e2e.steps import Bench, eventually, pod, service

CLIENTS = (pod("visitor-1", "k8s-w1"), pod("visitor-2", "k8s-w2"))
NAMES = [one["metadata"]["name"] for one in CLIENTS]
DEPLOYMENT = graceful.deployment("rolled", 2)
SERVICE = service("rolled", {"app": "rolled"})
SIZES = (5, 1, 3)


@pytest.fixture(scope="module")
def cluster_ip(bench: Bench) -> Iterator[str]:
    bench.apply(DEPLOYMENT, SERVICE)
    bench.start(*CLIENTS)
    graceful.settled(bench, "rolled", 2)
    found = str(bench.get("service", "rolled")["spec"]["clusterIP"])
    for name in NAMES:
        eventually(lambda name=name: bench.connects(name, found), f"{name} reaches the service")
    yield found
    bench.delete(SERVICE, DEPLOYMENT, *CLIENTS)


def test_no_visit_fails_while_a_deployment_is_scaled_and_replaced(bench: Bench, cluster_ip: str):
    """From two nodes, which both have backends, so that each client visits pods beside it and across."""
    clients = {
        (name, protocol): graceful.visitor(bench, name, protocol, cluster_ip)
        for name in NAMES
        for protocol in ("tcp", "udp")
    }
    graceful.change(bench, "rolled", SIZES)
    graceful.stop(bench, *NAMES)
    outcome = {who: graceful.seen(client) for who, client in clients.items()}
    assert not {who: lost for who, (_, lost) in outcome.items() if lost}
    assert all(count > 10 * graceful.PACE for count, _ in outcome.values()), outcome


def test_scaled_to_nothing_it_refuses_at_once(bench: Bench, cluster_ip: str):
    bench.kubectl("scale", "deployment/rolled", "--replicas=0")
    refused = f"curl -s --max-time 5 http://{cluster_ip}:7000/; test $? = 7"  # 7: not connected; 28: timed out
    eventually(lambda: bench.shell(NAMES[0], refused).returncode == 0, "nobody is left", 60)
