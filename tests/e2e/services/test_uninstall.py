"""Seta goes and comes back while pods talk: those that run notice nothing, and no new one gets an address meanwhile."""

import pathlib
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e import graceful
from tests.e2e.conftest import Cluster
from tests.e2e.steps import Bench, eventually, finished, pod, service

CHART = str(pathlib.Path(__file__).parents[3] / "deploy/chart")
HELM = ("helm", "-n", "kube-system")
NODES = ("k8s-s", "k8s-w1", "k8s-w2")
PODS = (pod("steady", "k8s-w1"), pod("forbidden", "k8s-w1"), pod("near", "k8s-w1"), pod("far", "k8s-w2"))
LATE = pod("late", "k8s-w2")
SERVICE = service("steady", {"app": "steady"})


@pytest.fixture
def addresses(other_cluster: Cluster, netbench: bytes) -> Iterator[dict[str, str]]:
    bench = Bench(other_cluster, netbench)
    found = bench.start(*PODS)
    for name in ("steady", "forbidden"):
        bench.serve(name)
    bench.apply(SERVICE, bench.deny("forbidden"))
    found["service"] = bench.get("service", "steady")["spec"]["clusterIP"]
    eventually(lambda: not bench.connects("near", found["forbidden"]), "the policy is enforced")
    eventually(lambda: bench.connects("far", found["service"]), "the service answers")
    yield found
    bench.delete(SERVICE, bench.deny("forbidden"), LATE, *PODS)


def visitor(bench: Bench, name: str, protocol: str, address: str) -> subprocess.Popen[str]:
    """Patient: a datagram that is lost stays lost, and a late one is the machine's."""
    return bench.background(name, "visit", protocol, address, "7000", "300", str(graceful.PACE), "10")


def fates(visitor: subprocess.Popen[str]) -> tuple[int, int]:
    """How many visits there were, and how many were lost."""
    printed = finished(visitor)
    found = re.search(r"(\d+) visits, (\d+) lost", printed)
    assert found, printed
    return int(found[1]), int(found[2])


def configured(cluster: Cluster) -> list[str]:
    """Nodes that have Seta's CNI configuration."""
    return [node for node in NODES if "05-seta.conflist" in cluster.exec(node, "ls", "/etc/cni/net.d")]


def uninstalled(cluster: Cluster) -> str:
    """Returns the values that it had."""
    values = cluster.run(*HELM, "get", "values", "seta", "-o", "json")
    cluster.run(*HELM, "uninstall", "seta", "--wait")
    cluster.kubectl("-n", "kube-system", "wait", "--for=delete", "pod", "-l", "k8s-app=seta", "--timeout=60s")
    return values


def installed(cluster: Cluster, values: str) -> None:
    cluster.run(*HELM, "install", "seta", CHART, "-f", "-", stdin=values.encode())
    workloads = ("daemonset/seta", "deployment/seta-operator")
    cluster.kubectl("-n", "kube-system", "rollout", "status", *workloads, "--timeout=120s")


def test_running_pods_notice_neither_seta_going_nor_coming_back(
    other_cluster: Cluster, netbench: bytes, addresses: dict[str, str]
):
    bench = Bench(other_cluster, netbench)
    before = bench.overruns("steady")
    datagrams = [visitor(bench, name, "udp", addresses["steady"]) for name in ("near", "far")]
    connections = visitor(bench, "far", "tcp", addresses["service"])
    forbidden = visitor(bench, "near", "tcp", addresses["forbidden"])
    values = uninstalled(other_cluster)
    assert configured(other_cluster) == []
    bench.apply(LATE)
    installed(other_cluster, values)
    assert configured(other_cluster) == [*NODES]
    late = bench.start(LATE)["late"]
    assert bench.connects("late", addresses["service"]), "a new pod is served"
    assert bench.shell("near", f"ping -c 1 -W 2 {late}").returncode == 0
    graceful.stop(bench, "near", "far")
    visits, unanswered = map(sum, zip(*(fates(one) for one in datagrams), strict=True))
    assert visits > 10 * graceful.PACE
    assert unanswered <= bench.overruns("steady") - before  # those arrived, and found a busy server's buffer full
    visits, unanswered = fates(connections)
    assert visits > unanswered == 0
    visits, unanswered = fates(forbidden)
    assert visits == unanswered > 0
