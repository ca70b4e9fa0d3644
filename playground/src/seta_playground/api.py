"""What `up` and `status` ask the API server: is it ready, are nodes ready, are workloads there.

Over the loopback port of the forwarder with the administrator's certificate, by nothing but the standard library:
asking ten times a second must cost nothing.
"""

import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import Any

from seta_playground import state
from seta_playground.errors import PlaygroundError

INTERVAL = 0.1  # seconds between two questions
STRATEGIC = "application/strategic-merge-patch+json"


class Api:
    def __init__(self, cluster: state.Cluster) -> None:
        self._port = cluster.port
        self._tls = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
        self._tls.load_cert_chain(cluster.pki / "admin.crt", cluster.pki / "admin.key")

    def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            status, _ = self._ask("GET", "/readyz")
        except OSError:
            return False
        return status == http.client.OK

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list; none where the API server does not answer."""
        try:
            status, body = self._ask("GET", path)
        except OSError:
            return []
        found: list[dict[str, Any]] = json.loads(body)["items"] if status == http.client.OK else []
        return found

    def nodes(self) -> dict[str, bool]:
        """Name -> whether it is Ready."""
        return {node["metadata"]["name"]: condition(node, "Ready") for node in self.items("/api/v1/nodes")}

    def unready_workloads(self) -> list[str]:
        """Deployments and DaemonSets of kube-system that lack pods, as `NAME READY/WANTED`."""
        lacking = []
        for item in self.items("/apis/apps/v1/namespaces/kube-system/deployments"):
            wanted, there = item["spec"]["replicas"], item.get("status", {}).get("readyReplicas", 0)
            lacking += [f"{item['metadata']['name']} {there}/{wanted}"] if there < wanted else []
        for item in self.items("/apis/apps/v1/namespaces/kube-system/daemonsets"):
            status = item["status"]
            wanted, there = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
            observed = status.get("observedGeneration") == item["metadata"]["generation"]
            lacking += [f"{item['metadata']['name']} {there}/{wanted}"] if there < wanted or not observed else []
        return lacking

    def label_node(self, name: str, label: str) -> None:
        """Add a label without a value, which a kubelet may not give itself."""
        patch = json.dumps({"metadata": {"labels": {label: ""}}})
        self._ask("PATCH", f"/api/v1/nodes/{name}", patch)

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=self._tls, timeout=5)
        try:
            connection.request(method, path, body, {"Content-Type": STRATEGIC} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def condition(item: dict[str, Any], kind: str) -> bool:
    """Whether a condition of an object is True."""
    conditions = item.get("status", {}).get("conditions", [])
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)


def wait(until: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    """Ask until it is so; after `seconds`, fail with what `otherwise` says."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise PlaygroundError(f"not within {seconds:.0f} s: {otherwise()}")
        time.sleep(INTERVAL)
