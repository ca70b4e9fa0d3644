"""10,000 services of five backends each, on a cluster: programmed by an agent in its pod, changed, seen on the wire.

service_scale measures the operator and the agent alone. The backends are addresses that nobody has, but for one.
"""

import ipaddress
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from tests.bench import agent, objects, policy, report, services
from tests.bench.cluster import PLAYGROUND, Cluster
from tests.e2e.policy.api import API

SERVICES, BACKENDS = 10_000, 5
FIRST = int(ipaddress.IPv4Address("10.128.0.0"))  # of the backends' addresses
CHANGES, PAUSE = 20, 0.4  # of one service; seconds between them
NODE = "k8s-w1"
LB_MAPS = "/sys/fs/bpf/tc/globals/cilium_lb*"
KUBE = "kube-system"
PATH = "/api/v1/namespaces/default/services"
TABLES = "/apis/seta.dev/v1alpha1/servicetables"
HOW = (
    f"{SERVICES:,} services of {BACKENDS} backends each, none shared. The agent starts with empty service maps, then "
    "with those it left; one service among them loses its backend and gets it back, seen by a datagram a millisecond "
    "on a socket of its own."
)
MEBIBYTE = 2**20


def measure(cluster: Cluster, netbench: pathlib.Path) -> Iterator[report.Section]:
    """The section so far, after each step."""
    figures: list[report.Figure] = []
    address = cluster.pod("server", "k8s-w2", netbench)
    cluster.serve("server")
    cluster.pod("dialer", NODE, netbench)
    objects.create(cluster, PATH, [_service("probe")])
    objects.create(cluster, services.SLICES, [_slice("probe", [address])])
    for step in (_made, _from_nothing, _again, _changed):
        figures += step(cluster)
        yield report.Section("Many services on a cluster", HOW, figures)


def _made(cluster: Cluster) -> list[report.Figure]:
    """All of them, and their tables."""
    objects.create(cluster, PATH, (_service(f"bench-{n}") for n in range(SERVICES)))
    objects.create(cluster, services.SLICES, (_slice(f"bench-{n}", _backends(n)) for n in range(SERVICES)))
    begin, wanted = time.monotonic(), _count(cluster, "/api/v1/services")
    services.until(lambda: _count(cluster, TABLES) >= wanted, "every service")
    return [report.Figure("last EndpointSlice made → last table written", "s", [time.monotonic() - begin])]


def _from_nothing(cluster: Cluster) -> list[report.Figure]:
    """The agent is replaced while its node has no service maps at all."""
    before = cluster.get("pods", "-n", KUBE, "-l", "k8s-app=seta", "--field-selector", f"spec.nodeName={NODE}")
    cluster.run(PLAYGROUND, "exec", "--name", cluster.name, NODE, "--", "sh", "-c", f"rm -f {LB_MAPS}")
    cluster.kubectl("-n", KUBE, "delete", "pod", before["items"][0]["metadata"]["name"])
    status = agent.ready(cluster, unlike=0.0)
    used = report.Figure("kernel memory of the service maps", "MiB", [_map_bytes(cluster) / MEBIBYTE])
    ready = [status["ready_after_seconds"]]
    return [report.Figure("agent: start → all programmed, empty maps", "s", ready, goal="< 3 s"), used]


def _again(cluster: Cluster) -> list[report.Figure]:
    return agent.measure("10,000 services of five backends", cluster, ("< 3 s", "< 150 MB"), starts=3)


def _changed(cluster: Cluster) -> list[report.Figure]:
    """One service among them."""
    target = cluster.get("service", "probe")["spec"]["clusterIP"]
    there = cluster.get("endpointslice", "probe")
    api = API(cluster.env["KUBECONFIG"])
    seconds = CHANGES * 2 * (PAUSE + 0.1) + 2
    visits = ["exec", "dialer", "--", "/netbench", "visit", "udp", target, "7000", str(seconds), "1000", "0.2"]
    sent: dict[str, list[float]] = {"lost": [], "ok": []}
    with cluster.background("kubectl", *visits) as watching:
        time.sleep(1)
        for _ in range(CHANGES):
            for fate, endpoints in (("lost", []), ("ok", there["endpoints"])):
                sent[fate].append(time.time())
                api.merge(there, {"endpoints": endpoints})
                time.sleep(PAUSE)
        printed, _ = watching.communicate()
    changes = [(line.split()[0], float(line.split()[1])) for line in printed.splitlines() if " visits, " not in line]
    api.close()
    return [
        report.Figure(f"one service changed → {what}", "ms", policy.delays(sent[fate], changes, fate), goal="< 100 ms")
        for fate, what in (("lost", "its backend is gone"), ("ok", "its backend serves"))
    ]


def _map_bytes(cluster: Cluster) -> int:
    """By the kernel's own account; the inner maps of Maglev tables are not in it: there are none by default."""
    show = f"for map in {LB_MAPS}; do bpftool -j map show pinned $map && echo; done"
    printed = cluster.run(PLAYGROUND, "exec", "--name", cluster.name, NODE, "--", "sh", "-c", show)
    return sum(json.loads(line)["bytes_memlock"] for line in printed.splitlines() if line)


def _count(cluster: Cluster, path: str) -> int:
    page = json.loads(cluster.kubectl("get", "--raw", f"{path}?limit=1"))
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


def _backends(number: int) -> list[str]:
    return [str(ipaddress.IPv4Address(FIRST + number * BACKENDS + n)) for n in range(BACKENDS)]


def _service(name: str) -> dict[str, Any]:
    ports = [{"name": "echo", "port": services.PORT, "protocol": "UDP"}]
    return {"metadata": {"name": name}, "spec": {"ports": ports}}


def _slice(name: str, addresses: list[str]) -> dict[str, Any]:
    made = services.endpoints(0, addresses)
    metadata = {"name": name, "labels": {"kubernetes.io/service-name": name}}
    return {**made, "metadata": metadata, "ports": [{**made["ports"][0], "protocol": "UDP"}]}
