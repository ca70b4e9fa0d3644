"""What the agent costs a node: time from process start to ready, and memory, with few and with many services."""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.bench import report
from tests.bench.cluster import Cluster

STARTS = 5
HOW = "The agent of a node with pods, replaced again and again."
WITHIN = 120.0
MEBIBYTE = 2**20


def measure(label: str, cluster: Cluster, goals: tuple[str, str], starts: int = STARTS) -> list[report.Figure]:
    """Replaces the agent of one node several times."""
    times, sizes = [], []
    for _ in range(starts):
        before = _status(cluster)
        _restart(cluster)
        after = ready(cluster, before["ready_after_seconds"])
        times.append(float(after["ready_after_seconds"]))
        time.sleep(2)
        sizes.append(_status(cluster)["rss_bytes"] / MEBIBYTE)
    return [
        report.Figure(f"start → ready, {label}", "s", times, goal=goals[0]),
        report.Figure(f"resident memory, {label}", "MiB", sizes, goal=goals[1]),
    ]


def ready(cluster: Cluster, unlike: float) -> dict[str, Any]:
    """The status of an agent that is ready, and was so after another time than the one before it."""
    return _eventually(lambda: _status(cluster), lambda new: new and new["ready_after_seconds"] != unlike)


def _pod(cluster: Cluster) -> dict[str, Any]:
    pods = cluster.get("pods", "-n", "kube-system", "-l", "k8s-app=seta", "--field-selector", "spec.nodeName=k8s-w1")
    return next((pod for pod in pods["items"] if "deletionTimestamp" not in pod["metadata"]), {})


def _status(cluster: Cluster) -> dict[str, Any]:
    """The agent's own status without what changes while it runs; empty while it is away."""
    try:
        name = _pod(cluster)["metadata"]["name"]
        printed = cluster.kubectl("exec", "-n", "kube-system", name, "--", "seta", "status", "-o", "json")
    except Exception:  # noqa: BLE001 - kubectl fails in many ways while the container restarts; the caller waits
        return {}
    status = json.loads(printed)
    return {key: status[key] for key in ("ready_after_seconds", "rss_bytes")} if status["ready"] else {}


def _restart(cluster: Cluster) -> None:
    """A new pod: a container that is killed again and again waits longer each time."""
    cluster.kubectl("delete", "-n", "kube-system", "pod", _pod(cluster)["metadata"]["name"])


def _eventually(probe: Callable[[], dict[str, Any]], good: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        found = probe()
        if good(found):
            return found
        time.sleep(0.5)
    raise TimeoutError(f"the agent was not ready within {WITHIN:.0f} s")
