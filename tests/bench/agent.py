"""What the agent costs a node: time from process start to ready, and memory, with few and with many services."""

import json
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.bench import report
from tests.bench.cluster import Cluster

STARTS = 5
HOW = "Restarted on a node with pods; the kubelet starts it again."
WITHIN = 120.0
MEBIBYTE = 2**20


def measure(label: str, cluster: Cluster, goals: tuple[str, str]) -> list[report.Figure]:
    """Kills the agent of one node several times; the kubelet starts it again."""
    starts, sizes = [], []
    for _ in range(STARTS):
        before = _status(cluster)
        _kill(cluster)
        after = _eventually(
            lambda: _status(cluster),
            lambda new, old=before: new and new["ready_after_seconds"] != old["ready_after_seconds"],
        )
        starts.append(float(after["ready_after_seconds"]))
        time.sleep(2)
        sizes.append(_status(cluster)["rss_bytes"] / MEBIBYTE)
    return [
        report.Figure(f"start → ready, {label}", "s", starts, goal=goals[0]),
        report.Figure(f"resident memory, {label}", "MiB", sizes, goal=goals[1]),
    ]


def _pod(cluster: Cluster) -> dict[str, Any]:
    pods = cluster.get("pods", "-n", "kube-system", "-l", "k8s-app=seta", "--field-selector", "spec.nodeName=k8s-w1")
    return dict(pods["items"][0])


def _status(cluster: Cluster) -> dict[str, Any]:
    """The agent's own status without what changes while it runs; empty while it is away."""
    name = _pod(cluster)["metadata"]["name"]
    try:
        printed = cluster.kubectl("exec", "-n", "kube-system", name, "--", "seta", "status", "-o", "json")
    except Exception:  # noqa: BLE001 - kubectl fails in many ways while the container restarts; the caller waits
        return {}
    status = json.loads(printed)
    return {key: status[key] for key in ("ready_after_seconds", "rss_bytes")} if status["ready"] else {}


def _kill(cluster: Cluster) -> None:
    name = _pod(cluster)["metadata"]["name"]
    kill = f"import os; os.kill(1, {int(signal.SIGTERM)})"
    cluster.kubectl("exec", "-n", "kube-system", name, "--", "python3", "-c", kill)


def _eventually(probe: Callable[[], dict[str, Any]], good: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        found = probe()
        if good(found):
            return found
        time.sleep(0.5)
    raise TimeoutError(f"the agent was not ready within {WITHIN:.0f} s")
