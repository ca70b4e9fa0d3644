"""The cluster of the service matrix: its pods and services, the LAN's routes to them, and a prober in every place.

Made once per cluster. Nothing here says what is to be expected.
"""

import contextlib
import dataclasses
import json
import select
import subprocess
from collections.abc import Iterator
from typing import Any

import yaml

from tests.e2e.conftest import Cluster
from tests.e2e.services import manifests
from tests.e2e.services.manifests import NAMESPACE, PLACE, PLAN, Manifest
from tests.e2e.services.semantics import Facts, Place
from tests.e2e.steps import eventually

WORLD = "192.168.20.10"
PATIENCE = 30.0  # seconds until a prober that says nothing is a failure
ZONE = "topology.kubernetes.io/zone"
ROUTES = {  # network -> node; to external addresses, and to ClusterIPs to see who gets in there
    **{f"{network}.0/24": node for node, network in PLAN["doors"].items()},
    "10.96.0.0/12": "k8s-w1",
}
Probe = tuple[str, str, int]  # protocol, address, port


class Ground:
    """places: name -> pod, node or the world. services: name -> Service as the API server has it."""

    def __init__(self, cluster: Cluster, facts: Facts) -> None:
        """facts: what is known before anything is there."""
        self.cluster = cluster
        self.facts = facts
        self.places: dict[str, Place] = {}
        self.services: dict[str, Manifest] = {}
        self._probers: dict[str, subprocess.Popen[bytes]] = {}

    def build(self) -> None:
        self.zone(PLAN["zones"])
        namespace: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self._apply(namespace)
        account = "serviceaccount/default"
        eventually(lambda: not self.cluster.try_kubectl("get", "-n", NAMESPACE, account).returncode, account)
        self._apply(*manifests.pods(), *manifests.services())
        for name, spec in PLAN["services"].items():
            if spec["type"] == "LoadBalancer":
                patch = json.dumps(manifests.status(name))
                self._kubectl("patch", "service", name, "--subresource=status", "--type=merge", "-p", patch)
        nodes = {node: self._addresses(node) for node in PLAN["zones"]}
        self.facts = dataclasses.replace(self.facts, nodes=nodes)
        for network, node in ROUTES.items():
            self.lead(network, node)
        names = (f"pod/{name}" for name, one in PLAN["backends"].items() if "never_ready" not in one)
        clients = (f"pod/{name}" for name in PLAN["clients"])
        self._kubectl("wait", "--for=condition=Ready", *clients, *names, "--timeout=120s")
        self._kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod", "--all", "--timeout=120s")
        self.read()
        self._find_places()
        for name, place in self.places.items():
            self._probers[name] = self._start(name, place)
        for name in self.places:
            assert self._line(name) == b"ready\n"

    def leave(self) -> None:
        for prober in self._probers.values():
            prober.kill()
            prober.communicate()
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
        for network, node in ROUTES.items():
            self.lead(network, node, "delete")
        self.zone(dict.fromkeys(PLAN["zones"]))

    def zone(self, zones: dict[str, str | None]) -> None:
        """Each node's zone from now on. What there is of services is told of it when its endpoints change."""
        for zone in set(zones.values()):
            nodes = (node for node, its in zones.items() if its == zone)
            self.cluster.kubectl("label", "node", *nodes, "--overwrite", f"{ZONE}={zone}" if zone else f"{ZONE}-")
        self.facts = dataclasses.replace(self.facts, zones={node: zone for node, zone in zones.items() if zone})

    def patch(self, service: str, spec: dict[str, Any]) -> None:
        self._kubectl("patch", "service", service, "--type=merge", "-p", json.dumps({"spec": spec}))
        self.read()

    def read(self) -> None:
        items = json.loads(self._kubectl("get", "services", "-o", "json"))["items"]
        self.services = {one["metadata"]["name"]: one for one in items}

    def probed(self, wanted: dict[str, list[Probe]]) -> dict[str, list[str]]:
        """Place -> what became of its probes; all places at once. wanted: place -> its probes."""
        for name, probes in wanted.items():
            stdin = self._probers[name].stdin
            assert stdin
            stdin.write(json.dumps(probes).encode() + b"\n")
            stdin.flush()
        return {name: json.loads(self._line(name)) for name in wanted}

    def lan_address(self, node: str) -> str:
        return next(address for address in self.facts.nodes[node] if address.startswith("192.168.10."))

    def lead(self, network: str, node: str, change: str = "replace") -> None:
        """The LAN's router sends a network's packets to a node."""
        self.cluster.exec("router", "ip", "route", change, network, "via", self.lan_address(node))

    @contextlib.contextmanager
    def without(self, backend: str) -> Iterator[None]:
        """It leaves its services, and comes back in the end."""
        app, known = PLAN["backends"][backend]["app"], self.facts.backends
        left = {**known, app: [one for one in known[app] if one.name != backend]}
        self._kubectl("label", "pod", backend, "app=gone", "--overwrite")
        self.facts = dataclasses.replace(self.facts, backends=left)
        try:
            yield
        finally:
            self._kubectl("label", "pod", backend, f"app={app}", "--overwrite")
            self.facts = dataclasses.replace(self.facts, backends=known)

    def _find_places(self) -> None:
        pods = json.loads(self._kubectl("get", "pods", "-o", "json"))["items"]
        backends: dict[str, list[Place]] = {}
        for pod in pods:
            name, spec, on_host = pod["metadata"]["name"], pod["spec"], pod["spec"].get("hostNetwork", False)
            ready = "never_ready" not in PLAN["backends"].get(name, {})
            place = Place(name, spec["nodeName"], frozenset({pod["status"]["podIP"]}), not on_host, on_host, ready)
            if name in PLAN["backends"]:
                backends.setdefault(pod["metadata"]["labels"]["app"], []).append(place)
            if ready and not on_host:
                self.places[name] = place
        self.places |= {node: Place(node, node, self.facts.nodes[node]) for node in PLAN["nodes"]}
        self.places["world"] = Place("world", "", frozenset({WORLD}))
        self.facts = dataclasses.replace(self.facts, backends=backends)

    def _addresses(self, node: str) -> frozenset[str]:
        shown = json.loads(self.cluster.exec(node, "ip", "-4", "-j", "address"))
        return frozenset(one["local"] for link in shown for one in link["addr_info"])

    def _start(self, name: str, place: Place) -> subprocess.Popen[bytes]:
        argv = ("python3", "-c", PLACE, "probe")
        command = (
            ["kubectl", "exec", "-i", "-n", NAMESPACE, name, "--", *argv]
            if place.is_pod
            else self.cluster.entering(name, argv)
        )
        pipe = subprocess.PIPE
        return subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, env=self.cluster.environment)

    def _line(self, name: str) -> bytes:
        out, found = self._probers[name].stdout, b""
        assert out
        while not found.endswith(b"\n"):
            readable, _, _ = select.select([out], [], [], PATIENCE)
            assert readable, f"{name}: the prober says nothing"
            part = out.read(1 << 20)
            assert part, f"{name}: the prober is gone"
            found += part
        return found

    def _apply(self, *objects: Manifest) -> None:
        self.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects).encode())

    def _kubectl(self, *args: str) -> str:
        return self.cluster.kubectl("-n", NAMESPACE, *args)


def built(cluster: Cluster, facts: Facts) -> Iterator[Ground]:
    ground = Ground(cluster, facts)
    try:
        ground.build()
        yield ground
    finally:
        ground.leave()
