"""A Deployment as people are told to write it: ready when it serves, and serving on while the news of its end travels.

Each pod echoes what it gets, over TCP and UDP, so that `netbench visit` can visit it. Used by the tests that scale and
replace pods under load.
"""

import pathlib
import re
import subprocess
from typing import Any

from tests.e2e.steps import TOOLBOX, Bench, eventually, finished

PORT = 7000
PACE, PATIENCE, LONGEST = 100, 2, 300  # visits per second; seconds for one, and for all
LINGER = 4  # seconds for which a pod that is to end serves on
SERVER = pathlib.Path(__file__).with_name("echo.py").read_text()


def deployment(name: str, replicas: int) -> dict[str, Any]:
    """Spread over the nodes; a rollout brings a new pod up before it ends an old one."""
    labels = {"app": name}
    probe = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    container = {
        "name": "main",
        "image": TOOLBOX,
        "command": ["python3", "-c", SERVER, str(PORT)],
        "imagePullPolicy": "IfNotPresent",
        "readinessProbe": probe,
        "lifecycle": {"preStop": {"sleep": {"seconds": LINGER}}},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {"containers": [container], "terminationGracePeriodSeconds": 15, "topologySpreadConstraints": [spread]}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def pods_of(bench: Bench, name: str) -> list[dict[str, Any]]:
    """Also those that are about to end."""
    found: list[dict[str, Any]] = bench.get("pods", "-l", f"app={name}")["items"]
    return found


def settled(bench: Bench, name: str, replicas: int) -> set[str]:
    """Waits until so many pods are ready and all others gone; returns the names of the pods."""
    bench.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")
    eventually(lambda: len(pods_of(bench, name)) == replicas, f"{name} has {replicas} pods and no more", 60)
    return {one["metadata"]["name"] for one in pods_of(bench, name)}


def change(bench: Bench, name: str, sizes: tuple[int, ...]) -> None:
    """Scales through the sizes and replaces every pod at the last one; returns when the last has ended."""
    for size in sizes:
        bench.kubectl("scale", f"deployment/{name}", f"--replicas={size}")
        before = settled(bench, name, size)
    bench.kubectl("rollout", "restart", f"deployment/{name}")
    after = settled(bench, name, sizes[-1])
    assert not before & after, "every pod was replaced"


def visitor(bench: Bench, pod: str, protocol: str, host: str, port: int = PORT) -> subprocess.Popen[str]:
    """Visits from a pod until `stop`."""
    return bench.load(pod, "visit", protocol, host, str(port), str(LONGEST), str(PACE), str(PATIENCE))


def stop(bench: Bench, *pods: str) -> None:
    """The visitors in these pods say what they have seen."""
    for pod in pods:
        bench.shell(pod, "kill -INT $(pidof netbench)")


def seen(client: subprocess.Popen[str]) -> tuple[int, str]:
    """Of a visitor: how many visits there were, and what became of the lost ones ("": none was lost)."""
    printed = finished(client)
    found = re.search(r"(\d+) visits, (\d+) lost", printed)
    assert found, printed
    return int(found[1]), printed if int(found[2]) else ""
