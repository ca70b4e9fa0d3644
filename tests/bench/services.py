"""Connections per second through a ClusterIP, against the same pod's own address, as services grow in number."""

import pathlib
import time
from collections.abc import Iterator
from typing import Any

from tests.bench import objects, report
from tests.bench.cluster import Cluster

SIZES = (1, 1_000, 10_000)
ROUNDS = 7
SECONDS = "2"
PORT = 7000


def measure(label: str, cluster: Cluster, netbench: pathlib.Path) -> Iterator[report.Section]:
    """The section so far, after each size."""
    addresses = [cluster.pod(f"backend-{n}", "k8s-w1", netbench) for n in range(2)]
    for n in range(2):
        cluster.serve(f"backend-{n}")
    cluster.pod("dialer", "k8s-w1", netbench)
    how = f"Connect, one byte each way, close; {ROUNDS} rounds of {SECONDS} s in turns; two backends; the last service."
    figures: list[report.Figure] = []
    present = 0
    for size in SIZES:
        _grow(cluster, range(present, size), addresses)
        present = size
        target = cluster.get("service", f"bench-{size - 1}")["spec"]["clusterIP"]
        _until_served(cluster, target)
        figures += _compare(label, cluster, size, addresses[0], target)
        yield report.Section(f"ClusterIP, {label}", how, figures)


def _compare(label: str, cluster: Cluster, size: int, direct: str, target: str) -> list[report.Figure]:
    samples: dict[str, list[float]] = {direct: [], target: []}
    for _ in range(ROUNDS):
        for host, rates in samples.items():
            rates.append(float(cluster.netbench("dialer", "crr", host, str(PORT), SECONDS, "1")))
    base = report.Figure(f"pod address, {size:,} services", "conn/s", samples[direct])
    goal = "≥ 0.97" if label == "Seta" else ""
    return [base, report.Figure(f"ClusterIP, {size:,} services", "conn/s", samples[target], base, goal)]


def _grow(cluster: Cluster, numbers: range, addresses: list[str]) -> None:
    objects.create(cluster, "/api/v1/namespaces/default/services", map(_service, numbers))
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    objects.create(cluster, path, (_slice(number, addresses) for number in numbers))


def _service(number: int) -> dict[str, Any]:
    ports = [{"name": "echo", "port": PORT, "protocol": "TCP"}]
    return {"metadata": {"name": f"bench-{number}"}, "spec": {"ports": ports}}


def _slice(number: int, addresses: list[str]) -> dict[str, Any]:
    name = f"bench-{number}"
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "echo", "port": PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def _until_served(cluster: Cluster, target: str, within: float = 300) -> None:
    for _ in _tries(within):
        probe = ["exec", "dialer", "--", "sh", "-c", f"nc -z -w 1 {target} {PORT} && echo served || true"]
        if "served" in cluster.kubectl(*probe):
            return
    raise TimeoutError(f"{target} was not served within {within:.0f} s")


def _tries(within: float) -> Iterator[None]:
    end = time.monotonic() + within
    while time.monotonic() < end:
        yield
        time.sleep(0.5)
