"""What the end-to-end tests do and say: pods with netbench in them, probes, and waiting for the first answer."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

import yaml

TOOLBOX = "ghcr.io/seta-net/toolbox:0.1.0"
Found = TypeVar("Found")


def eventually(probe: Callable[[], Found], what: str, within: float = 30) -> Found:
    """The first truthy answer of `probe`; fails with `what` when there was none in `within` seconds."""
    end = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < end, f"not within {within:.0f} s: {what}"
        time.sleep(0.1)


def pod(
    name: str, node: str | None = None, *, labels: dict[str, str] | None = None, namespace: str = "default"
) -> dict:
    """A toolbox pod that sleeps until a test gives it something to do."""
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {"name": "main", "image": TOOLBOX, "command": ["sleep", "infinity"], "imagePullPolicy": "IfNotPresent"}
        ],
    }
    if node:
        spec["nodeName"] = node
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def service(name: str, selector: dict[str, str], port: int = 7000) -> dict:
    ports = [{"name": f"{p.lower()}-{port}", "port": port, "protocol": p} for p in ("TCP", "UDP")]
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": selector, "ports": ports}}


def cnp(name: str, spec: dict[str, Any], namespace: str = "default") -> dict:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}


class Bench:
    """The cluster as a test sees it: apply, run in pods, probe."""

    def __init__(self, cluster: Any, netbench: bytes) -> None:
        self.cluster = cluster
        self.netbench = netbench

    def kubectl(self, *args: str, stdin: bytes | None = None) -> str:
        return self.cluster.kubectl(*args, stdin=stdin)

    def get(self, *args: str) -> Any:
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects).encode())

    def delete(self, *objects: dict[str, Any]) -> None:
        text = yaml.safe_dump_all(objects).encode()
        self.kubectl("delete", "--ignore-not-found", "--wait", "-f", "-", stdin=text)

    def start(self, *pods: dict[str, Any]) -> dict[str, str]:
        """Pods up, with netbench in each; returns name -> address."""
        self.apply(*pods)
        addresses = {}
        for one in pods:
            name, namespace = one["metadata"]["name"], one["metadata"]["namespace"]
            self.kubectl("wait", "-n", namespace, "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
            put = "cat > /netbench && chmod +x /netbench"
            self.kubectl("exec", "-n", namespace, "-i", name, "--", "sh", "-c", put, stdin=self.netbench)
            addresses[name] = self.get("pod", name, "-n", namespace)["status"]["podIP"]
        return addresses

    def serve(self, name: str, port: int = 7000, namespace: str = "default", cpu: int = 0) -> None:
        serve = f"nohup /netbench serve {port} {cpu} >/dev/null 2>&1 & sleep 0.2"
        self.kubectl("exec", "-n", namespace, name, "--", "sh", "-c", serve)

    def shell(self, name: str, script: str, namespace: str = "default") -> subprocess.CompletedProcess[str]:
        """Runs a script in a pod; never raises: the exit code is the answer."""
        return self.cluster.try_kubectl("exec", "-n", namespace, name, "--", "sh", "-c", script)

    def connects(self, name: str, host: str, port: int = 7000, namespace: str = "default") -> bool:
        return self.shell(name, f"nc -z -w 1 {host} {port}", namespace).returncode == 0

    def background(self, name: str, *args: str) -> subprocess.Popen[str]:
        """netbench in a pod, in the background; its output is read when it ends."""
        return self.cluster.popen_kubectl("exec", name, "--", "/netbench", *args)

    def load(self, name: str, *args: str) -> subprocess.Popen[str]:
        """The same as work that yields to everything else, so that it does not starve what is measured."""
        return self.cluster.popen_kubectl("exec", name, "--", "nice", "-n", "19", "/netbench", *args)

    def overruns(self, name: str) -> int:
        """Datagrams that reached a pod's sockets and found their buffers full."""
        names, values = self.shell(name, "grep Udp: /proc/net/snmp").stdout.splitlines()
        return int(values.split()[names.split().index("RcvbufErrors")])

    def deny(self, name: str) -> dict[str, Any]:
        """A policy under which nobody reaches the pods of app `name`."""
        spec = {"endpointSelector": {"matchLabels": {"app": name}}, "ingress": [{"fromEndpoints": []}]}
        return cnp(f"deny-{name}", spec)


def leader(bench: Bench) -> str:
    """The node whose operator decides."""
    node: str = bench.get("lease", "seta-operator", "-n", "kube-system")["spec"]["holderIdentity"]
    return node


def lost(watch: subprocess.Popen[str], within: float = 60) -> tuple[int, int]:
    """Of a background `netbench watch`: how many datagrams were sent, and how many were not answered."""
    _, err = watch.communicate(timeout=within)
    assert watch.returncode == 0, err
    found = re.search(r"(\d+) sent, (\d+) lost", err)
    assert found, err
    return int(found[1]), int(found[2])


def finished(process: subprocess.Popen[str], within: float = 60) -> str:
    """What a background netbench printed; fails with its complaint when it failed."""
    out, err = process.communicate(timeout=within)
    assert process.returncode == 0, err
    return out
