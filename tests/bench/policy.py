"""From the API server's answer to a policy's creation until the wire obeys: a UDP probe every millisecond."""

import pathlib
import subprocess
import threading
import time
from typing import Any

from tests.bench import objects, report
from tests.bench.cluster import Cluster

ROUNDS = 40
PAUSE = 0.7
POLICY: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "bench"},
    "spec": {"endpointSelector": {"matchLabels": {"app": "target"}}, "ingress": [{"fromEndpoints": []}]},
}
PATH = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies"


def measure(cluster: Cluster, netbench: pathlib.Path) -> report.Section:
    address = cluster.pod("target", "k8s-w1", netbench)
    cluster.serve("target", cpu=0)
    cluster.pod("prober", "k8s-w2", netbench)
    seconds = str(ROUNDS * 2 * (PAUSE + 0.2) + 5)
    lines: list[str] = []

    def probe() -> None:
        lines.extend(cluster.netbench("prober", "watch", address, "7000", seconds).splitlines())

    prober = threading.Thread(target=probe)
    prober.start()
    time.sleep(2)
    created, deleted = _flip(cluster)
    prober.join()
    changes = [(state, float(at)) for state, at in (line.split() for line in lines)]
    figures = [
        _figure("policy created → denied", delays(created, changes, "lost"), "p50 < 100 ms, p99 < 250 ms"),
        _figure("policy deleted → allowed", delays(deleted, changes, "ok"), ""),
    ]
    figures += [_kubectl(cluster)]
    return report.Section("Policy to wire", f"{ROUNDS} times; an established flow across nodes is cut.", figures)


def _flip(cluster: Cluster) -> tuple[list[float], list[float]]:
    """When each creation and each deletion was sent (wall clock seconds)."""
    created: list[float] = []
    deleted: list[float] = []
    for _ in range(ROUNDS):
        created.append(time.time())
        objects.create(cluster, PATH, [POLICY])
        time.sleep(PAUSE)
        deleted.append(time.time())
        objects.delete(cluster, f"{PATH}/bench")
        time.sleep(PAUSE)
    return created, deleted


def delays(sent: list[float], changes: list[tuple[str, float]], state: str) -> list[float]:
    """Milliseconds from each sending to the first change to `state` after it."""
    first = (min(at for kind, at in changes if kind == state and at > moment) for moment in sent)
    return [1000 * (at - moment) for at, moment in zip(first, sent, strict=True)]


def _figure(name: str, delays: list[float], goal: str) -> report.Figure:
    figure = report.Figure(name, "ms", delays, goal=goal)
    return report.Figure(f"{name} (p99 {figure.percentile(0.99):.0f} ms)", "ms", delays, goal=goal)


def _kubectl(cluster: Cluster) -> report.Figure:
    """What kubectl itself takes to start and be answered, for comparison."""
    took = []
    for _ in range(5):
        begin = time.monotonic()
        subprocess.run(["kubectl", "get", "--raw", "/version"], env=cluster.env, check=True, stdout=subprocess.DEVNULL)
        took.append(1000 * (time.monotonic() - begin))
    return report.Figure("kubectl alone (get --raw /version)", "ms", took)
