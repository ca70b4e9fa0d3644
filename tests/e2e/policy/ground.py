"""The cluster of the matrix: its namespaces, pods and probers, and the one state that a situation puts it into.

Made once per cluster by conftest. A situation says what it wants (policies, labels, objects beside them); `become`
applies the difference to what is there, so that a policy that is no longer wanted is deleted.
"""

import pathlib
import subprocess
import time
from typing import Any

import yaml

from tests.e2e.policy import api, probers
from tests.e2e.policy.api import Manifest
from tests.e2e.policy.probers import Prober
from tests.e2e.steps import TOOLBOX, eventually
from tests.policy.reference.flows import Flow

PLAN: dict[str, Any] = yaml.safe_load(pathlib.Path(__file__).with_name("ground.yaml").read_text())
PORTS: list[int] = PLAN["ports"]
WORLD: str = PLAN["world"]
NODES = ("k8s-s", "k8s-w1", "k8s-w2")
KINDS = ("Namespace", "Pod", "Node", "CiliumNode", "Service", "EndpointSlice", "CiliumCIDRGroup")
CONFIG = {"kind": "ConfigMap", "metadata": {"name": "seta-config", "namespace": "kube-system"}}
Labels = dict[str, str | None]  # key -> value, None where the label is taken away


class Ground:
    """`addresses`: place -> address. `probers`: place -> prober."""

    def __init__(self, cluster: Any, binary: bytes) -> None:
        self.cluster = cluster
        self.api = api.API(cluster.environment["KUBECONFIG"])
        self.addresses: dict[str, str] = {}
        self.probers: dict[str, Prober] = {}
        self._wanted: dict[tuple[str, str, str], Manifest] = {}  # (kind, namespace, name) -> what was applied
        self._labels: dict[str, Labels] = {}  # "pod red/a" or "namespace red" -> what differs from the plan
        self._binary = binary
        self._tunnel = self.api.get(CONFIG)["data"]["routing-mode"] == "tunnel"

    def build(self) -> None:
        for manifest in plan():
            eventually(lambda it=manifest: self._applied(it), f"{manifest['kind']} {manifest['metadata']} is taken")
        for name in PLAN["pods"]:
            self.addresses[name] = eventually(lambda name=name: self._address(name), f"{name} runs", 120)
        for node in self.api.list("Node"):
            internal = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
            self.addresses[f"node:{node['metadata']['name']}"] = internal[0]
        self.addresses[WORLD] = WORLD
        for place in self.addresses:
            self.probers[place] = Prober(place, self._start(place), self._binary)
        for prober in self.probers.values():
            prober.ready()

    def leave(self) -> None:
        """Nothing of ours remains."""
        self.become([], {})
        for prober in self.probers.values():
            prober.stop()
        for name in PLAN["namespaces"]:
            self.api.delete({"kind": "Namespace", "metadata": {"name": name}})
        eventually(lambda: not self._namespaces(), "the namespaces are gone", 60)
        self.api.close()

    def become(self, objects: list[Manifest], labels: dict[str, Labels]) -> float:
        """The state that a situation wants; returns the time (time.time) of the API server's last answer."""
        wanted = {_key(manifest): manifest for manifest in objects}
        for target in self._labels.keys() | labels.keys():
            self._label(target, labels.get(target, {}))
        for key, manifest in wanted.items():
            if self._wanted.get(key) != manifest:
                self.api.put(manifest)
                self._wanted[key] = manifest
        for key in self._wanted.keys() - wanted.keys():
            self.api.delete(self._wanted.pop(key))
        return time.time()

    def reaches(self, source: str, destination: str, port: int = PORTS[0]) -> bool:
        """One TCP probe of the matrix that was taught, with all others of its place."""
        prober = self.probers[source]
        prober.go()
        answers = prober.answers()
        return answers[Flow(source, destination, "TCP", port)]

    def seen_as(self, source: str, destination: str) -> str:
        """The source as it arrives. In tunnel mode a pod's packets to another node go outside of the tunnel, under the
        address of the pod's node: the LAN does not know pods."""
        if source not in PLAN["pods"] or not destination.startswith("node:") or not self._tunnel:
            return source
        home = f"node:{PLAN['pods'][source]['node']}"
        return source if home == destination else home

    def objects(self) -> list[Manifest]:
        """What the reference evaluator has to know of the cluster, as the API server has it now."""
        found = [manifest for kind in KINDS for manifest in self.api.list(kind)]
        ours = (*PLAN["namespaces"], "default", "")
        return [each for each in found if each["metadata"].get("namespace", "") in ours]

    def _label(self, target: str, labels: Labels) -> None:
        """From what a situation before has left to what this one wants, over the labels of the plan."""
        kind, _, name = target.partition(" ")
        if labels == self._labels.get(target, {}):
            return
        planned = PLAN["pods"][name]["labels"] if kind == "pod" else PLAN["namespaces"][name]
        back = {key: planned.get(key) for key in self._labels.get(target, {})}
        namespace, _, name = name.rpartition("/")
        metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
        self.api.label({"kind": kind.capitalize(), "metadata": metadata}, back | labels)
        self._labels[target] = labels

    def _applied(self, manifest: Manifest) -> bool:
        """Not at once where a namespace of that name is still going, or has no service account yet."""
        try:
            self.api.apply(manifest)
        except api.RefusedError:
            return False
        return True

    def _namespaces(self) -> list[str]:
        return [
            one["metadata"]["name"]
            for one in self.api.list("Namespace")
            if one["metadata"]["name"] in PLAN["namespaces"]
        ]

    def _address(self, pod: str) -> str:
        namespace, _, name = pod.partition("/")
        status = self.api.get({"kind": "Pod", "metadata": {"name": name, "namespace": namespace}}).get("status", {})
        return status.get("podIP", "") if status.get("phase") == "Running" else ""

    def _start(self, place: str) -> subprocess.Popen[bytes]:
        shell = ["sh", "-c", probers.shell(self._binary, PORTS)]
        if place in PLAN["pods"]:
            namespace, _, name = place.partition("/")
            command = ["kubectl", "exec", "-i", "-n", namespace, name, "--", *shell]
        else:
            command = self.cluster.entering("world" if place == WORLD else place.removeprefix("node:"), tuple(shell))
        pipe = subprocess.PIPE
        return subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, env=self.cluster.environment)


def plan() -> list[Manifest]:
    """Namespaces, service accounts and pods of ground.yaml."""
    found: list[Manifest] = []
    for name, labels in PLAN["namespaces"].items():
        found.append(_object("v1", "Namespace", name, labels=labels))
    for name, pod in PLAN["pods"].items():
        if "account" in pod:
            found.append(_object("v1", "ServiceAccount", f"{name.partition('/')[0]}/{pod['account']}"))
        container = {
            "name": "main",
            "image": TOOLBOX,
            "command": ["sleep", "infinity"],
            "imagePullPolicy": "IfNotPresent",
            "ports": pod["ports"],
        }
        spec = {
            "nodeName": pod["node"],
            "serviceAccountName": pod.get("account", "default"),
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        }
        found.append(_object("v1", "Pod", name, labels=pod["labels"], spec=spec))
    return found


def _object(api_version: str, kind: str, name: str, *, labels: dict[str, str] | None = None, **rest: Any) -> Manifest:
    namespace, _, name = name.rpartition("/")
    metadata: Manifest = {"name": name, "labels": labels or {}}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _key(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
