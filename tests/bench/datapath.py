"""Packets: Seta against a plain veth and kernel routing, in turns, on two clusters that run side by side.

Client and server of the request tests share one core, because wake-ups of an idle core would drown the path.
"""

import pathlib

from tests.bench import report
from tests.bench.cluster import Cluster

ROUNDS = 15
SECONDS = "1"
MODES = {"rr": "TCP_RR", "crr": "TCP_CRR", "stream": "TCP stream"}
UNITS = {"rr": "/s", "crr": "/s", "stream": "Gbit/s"}
GOALS = {"rr": "≥ 1.1", "crr": "≥ 1.0", "stream": "≥ 0.95"}
PLACES = {"same": "on one node", "cross": "across nodes"}


def prepare(cluster: Cluster, netbench: pathlib.Path) -> str:
    """Server on one node, clients on the same and on the other; returns the server's address."""
    address = cluster.pod("server", "k8s-w1", netbench)
    cluster.serve("server")
    cluster.pod("same", "k8s-w1", netbench)
    cluster.pod("cross", "k8s-w2", netbench)
    return address


def measure(clusters: dict[str, Cluster], netbench: pathlib.Path) -> report.Section:
    """`clusters`: label -> cluster; the first is the baseline."""
    addresses = {label: prepare(cluster, netbench) for label, cluster in clusters.items()}
    samples: dict[tuple[str, str, str], list[float]] = {}  # (place, mode, label) -> one figure a round
    for _ in range(ROUNDS):
        for place in PLACES:
            for mode in MODES:
                for label, cluster in clusters.items():
                    port = "7001" if mode == "stream" else "7000"
                    printed = cluster.netbench(place, mode, addresses[label], port, SECONDS, "1")
                    samples.setdefault((place, mode, label), []).append(float(printed))
    how = f"{ROUNDS} rounds of {SECONDS} s in turns; client and server on one core. Baseline: veth, kernel routing."
    return report.Section("Pod to pod", how, list(_figures(samples, list(clusters))))


def _figures(samples: dict[tuple[str, str, str], list[float]], labels: list[str]) -> list[report.Figure]:
    figures = []
    for place, where in PLACES.items():
        for mode, name in MODES.items():
            first, *others = labels
            base = report.Figure(f"{name} {where}, {first}", UNITS[mode], samples[place, mode, first])
            figures.append(base)
            figures += [
                report.Figure(f"{name} {where}, {label}", UNITS[mode], samples[place, mode, label], base, goal)
                for label, goal in zip(others, (GOALS[mode], ""), strict=True)  # routing is the native mode's measure
            ]
    return figures
