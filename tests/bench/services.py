"""Connections per second through a ClusterIP, against the same pod's own address, as services grow in number."""

import itertools
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.bench import objects, report
from tests.bench.cluster import Cluster

SIZES = (1, 1_000, 10_000)
ROUNDS = 21
SECONDS = "1"
NODE = "k8s-w1"  # of those who ask and of those who answer
PORT = 7000
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
HOW = (
    f"Connect, one byte each way, close; {ROUNDS} rounds of {SECONDS} s in turns; two backends; "
    "each round another service, from the first to the last."
)
# Below the ports that connections get by themselves: what was asked before the proxy's rules stood is remembered by
# conntrack as not translated, for two minutes, and a later connection from the same port would go that way.
PROBE_PORTS = itertools.cycle(range(10_000, 32_000))


def measure(label: str, cluster: Cluster, netbench: pathlib.Path) -> Iterator[report.Section]:
    """The section so far, after each size."""
    addresses = [cluster.pod(f"backend-{n}", NODE, netbench) for n in range(2)]
    for n in range(2):
        cluster.serve(f"backend-{n}")
    cluster.pod("dialer", NODE, netbench)
    figures: list[report.Figure] = []
    present = 0
    for size in SIZES:
        _grow(cluster, range(present, size), addresses)
        present = size
        targets = [_cluster_ip(cluster, (size - 1) * n // (ROUNDS - 1)) for n in range(ROUNDS)]
        for target in targets:
            until(lambda it=target: _served(cluster, it), target)
        figures += _compare(label, cluster, size, addresses[0], targets)
        yield report.Section(f"ClusterIP, {label}", HOW, figures)


def _compare(label: str, cluster: Cluster, size: int, direct: str, targets: list[str]) -> list[report.Figure]:
    samples: tuple[list[float], list[float]] = ([], [])
    for target in targets:
        for host, rates in zip((direct, target), samples, strict=True):
            rates.append(float(cluster.netbench("dialer", "crr", host, str(PORT), SECONDS, "1")))
    base = report.Figure(f"pod address, {size:,} services", "conn/s", samples[0])
    goal = "≥ 0.97" if label == "Seta" else ""
    return [base, report.Figure(f"ClusterIP, {size:,} services", "conn/s", samples[1], base, goal)]


def _grow(cluster: Cluster, numbers: range, addresses: list[str]) -> None:
    with cluster.kube_proxy_frozen(NODE):
        objects.create(cluster, "/api/v1/namespaces/default/services", map(service, numbers))
        objects.create(cluster, SLICES, (endpoints(number, addresses) for number in numbers))


def service(number: int) -> dict[str, Any]:
    ports = [{"name": "echo", "port": PORT, "protocol": "TCP"}]
    return {"metadata": {"name": f"bench-{number}"}, "spec": {"ports": ports}}


def endpoints(number: int, addresses: list[str]) -> dict[str, Any]:
    """The EndpointSlice of a service that has no selector."""
    name = f"bench-{number}"
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "echo", "port": PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def _cluster_ip(cluster: Cluster, number: int) -> str:
    return str(cluster.get("service", f"bench-{number}")["spec"]["clusterIP"])


def _served(cluster: Cluster, target: str) -> bool:
    return "served" in cluster.kubectl("exec", "dialer", "--", "sh", "-c", probe(target, PORT))


def probe(address: str, port: int) -> str:
    """A shell command that prints "served" where somebody accepts."""
    return f"nc -z -w 1 -p {next(PROBE_PORTS)} {address} {port} && echo served || true"


def until(served: Callable[[], bool], what: str, within: float = 1200) -> None:
    end = time.monotonic() + within
    while not served():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} was not served within {within:.0f} s")
        time.sleep(0.5)
