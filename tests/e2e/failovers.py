"""A LoadBalancer address that the world visits, and all that may befall whoever answers for it on the LAN.

Used by the tests and by the benchmarks: `Site` is the cluster with the address, each method of `Failovers` brings one
thing about and tells for how many seconds the world did not get through.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import yaml

from tests.e2e import graceful
from tests.e2e.conftest import Cluster, playground
from tests.e2e.steps import TOOLBOX, eventually, finished

NAMESPACE = "kube-system"
CHART = str(pathlib.Path(__file__).parents[2] / "deploy/chart")
WORKERS = ("k8s-w1", "k8s-w2")
PACE, PATIENCE = 100, 0.5  # visits per second; seconds for each
FORGET = "ip neighbour flush dev lan0 nud reachable nud stale nud delay nud probe"
VALUES = (
    "routingMode=native",
    "autoDirectNodeRoutes=true",
    "ipv4NativeRoutingCIDR=10.0.0.0/8",
    "l2announcements.enabled=true",
)
POOL = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumLoadBalancerIPPool",
    "metadata": {"name": "lan"},
    "spec": {"blocks": [{"cidr": "10.10.200.0/29"}], "allowFirstLastIPs": "No"},
}
POLICY = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": "CiliumL2AnnouncementPolicy",
    "metadata": {"name": "workers"},
    "spec": {
        "nodeSelector": {
            "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [*WORKERS]}]
        },
        "interfaces": ["^ens6$"],
        "loadBalancerIPs": True,
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop", "namespace": "default"},
    "spec": {
        "type": "LoadBalancer",
        "selector": {"app": "shop"},
        "ports": [{"name": "web", "port": 80}, {"name": "echo", "port": graceful.PORT}],
    },
}


def backend() -> dict[str, Any]:
    """On the node that never announces: what befalls a holder does not befall it."""
    commands = {"web": ["web", "whoami"], "echo": ["python3", "-c", graceful.SERVER, str(graceful.PORT)]}
    spec = {
        "nodeName": "k8s-s",
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {"name": name, "image": TOOLBOX, "command": command, "imagePullPolicy": "IfNotPresent"}
            for name, command in commands.items()
        ],
    }
    metadata = {"name": "shop", "namespace": "default", "labels": {"app": "shop"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def second_device(name: str, node: str) -> None:
    """`ens6` of a node, on the LAN like its first one; it speaks for no address but those announced."""
    inside, lan = f"{name}.{node}", f"{name}.lan"
    commands = [
        ["ip", "-n", inside, "link", "add", "ens6", "type", "veth", "peer", "name", f"{node}-2", "netns", lan],
        ["ip", "-n", inside, "link", "set", "ens6", "up"],
        ["ip", "netns", "exec", inside, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/ens6/arp_ignore"],
        ["ip", "-n", lan, "link", "set", f"{node}-2", "master", "br0", "up"],
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def frozen(cluster: Cluster, node: str, program: str) -> Iterator[None]:
    """A program of a node stands still, and goes on in the end."""
    cluster.exec(node, "pkill", "-STOP", "-f", program)
    try:
        yield
    finally:
        cluster.exec(node, "pkill", "-CONT", "-f", program)


class Site:
    """address: the service's. Each node has a second device, whose fate is not that of its way to the API server."""

    def __init__(self, cluster: Cluster, netbench: pathlib.Path) -> None:
        self.cluster = cluster
        self.address = ""
        self._netbench = str(netbench)

    def build(self) -> None:
        for node in ("k8s-s", *WORKERS):
            second_device(self.cluster.name, node)
        upgrade = ("upgrade", "seta", CHART, "--reuse-values", "--set", "devices=ens5 ens6")
        self.cluster.run("helm", "-n", NAMESPACE, *upgrade)
        workloads = ("daemonset/seta", "deployment/seta-operator")
        self.cluster.kubectl("-n", NAMESPACE, "rollout", "status", *workloads, "--timeout=120s")
        objects = yaml.safe_dump_all([POOL, POLICY, SERVICE, backend()])
        self.cluster.kubectl("apply", "-f", "-", stdin=objects.encode())
        self.cluster.kubectl("wait", "--for=condition=Ready", "pod/shop", "--timeout=60s")
        self.address = eventually(self._given, "the service has an address")
        self.settled()

    def holder(self) -> str:
        lease = "lease/cilium-l2announce-default-shop"
        shown = self.cluster.try_kubectl("-n", NAMESPACE, "get", lease, "-o", "jsonpath={.spec.holderIdentity}")
        return shown.stdout

    def settled(self) -> str:
        """The holder, once the world gets through."""
        get = ("curl", "-s", "--max-time", "1", f"http://{self.address}/")
        eventually(lambda: not self.cluster.try_exec("world", *get).returncode, "the world gets through", 60)
        return eventually(self.holder, "the service has a holder")

    def _given(self) -> str:
        path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
        return self.cluster.kubectl("get", "service", "shop", "-o", path)

    @contextlib.contextmanager
    def visited(self, outage: "Outage", *, forgetful: bool = True) -> Iterator[None]:
        """The world visits without a pause; tells `outage` what it saw. forgetful: the router asks for the address all
        the time, because one that remembers would hide some of it. It forgets answers only: what it is asking for takes
        the visits along that wait for the answer."""
        visit = ("visit", "tcp", self.address, str(graceful.PORT), "300", str(PACE), str(PATIENCE))
        forget = ("sh", "-c", f"while sleep 0.3; do {FORGET}; done") if forgetful else ("true",)
        forgetting = self.cluster.popen_exec("router", *forget)
        with self.cluster.popen_exec("world", self._netbench, *visit) as visitor:
            try:
                time.sleep(1)
                yield
            finally:
                visitor.send_signal(signal.SIGINT)
                forgetting.kill()
                forgetting.communicate()
            outage.printed = finished(visitor)


class Outage:
    """What the world saw. begun: when what befell was over, for what leaves the address without an answer before."""

    def __init__(self) -> None:
        self.begun, self.printed = 0.0, ""

    @property
    def lost(self) -> int:
        found = re.search(r"visits, (\d+) lost", self.printed)
        assert found, self.printed
        return int(found[1])

    @property
    def seconds(self) -> float:
        """From the first visit that failed, or `begun`, until visits succeed and go on to do so; 0: none failed."""
        fates = [
            (line.split()[0], float(line.split()[1])) for line in self.printed.splitlines() if "visits," not in line
        ]
        assert fates[-1][0] == "ok", f"the world does not get through again: {self.printed}"
        failed = [when for fate, when in fates if fate == "lost"]
        return max(0.0, fates[-1][1] - max(failed[0], self.begun)) if failed else 0.0


class Failovers:
    """lease: seconds of leaseDuration."""

    def __init__(self, site: Site, lease: float) -> None:
        self.site = site
        self.cluster = site.cluster
        self.lease = lease

    def agent_killed(self) -> Outage:
        """The kubelet starts it again."""
        return self._after_kill(self.site.settled(), "seta-agent")

    def operator_killed(self) -> Outage:
        self.site.settled()
        return self._after_kill(self._leader(), "seta-operator")

    def agent_frozen(self) -> Outage:
        """It neither renews nor is it started again."""
        holder, outage = self.site.settled(), Outage()
        with self.site.visited(outage), frozen(self.cluster, holder, "seta-agent"):
            self._taken_over(holder)
        return outage

    def carrier_lost(self) -> Outage:
        holder, outage = self.site.settled(), Outage()
        link = ("ip", "link", "set", f"{holder}-2")
        with self.site.visited(outage):
            self.cluster.exec("lan", *link, "down")
            self._taken_over(holder)
        self.cluster.exec("lan", *link, "up")
        return outage

    def api_server_back(self) -> Outage:
        """Stopped until nobody may answer any more; the time counts from its return."""
        outage = Outage()
        self.site.settled()
        with self.site.visited(outage):
            with frozen(self.cluster, "k8s-s", "kube-apiserver"):
                time.sleep(self.lease + 1)
                outage.begun = time.time()
            time.sleep(self.lease + 1)
        return outage

    def node_killed(self) -> Outage:
        """The last one: it does not come back. Whoever decides is on another node."""
        if self.site.settled() == self._leader():
            self.carrier_lost()
        holder, outage = self.site.settled(), Outage()
        found = re.search(rf"{holder}\s.*\bpid (\d+)", playground("status", "--name", self.cluster.name))
        assert found
        with self.site.visited(outage):
            os.kill(int(found[1]), signal.SIGKILL)
            self._taken_over(holder)
        return outage

    def _after_kill(self, node: str, program: str) -> Outage:
        outage = Outage()
        with self.site.visited(outage, forgetful=False):
            self.cluster.exec(node, "pkill", "-9", "-f", program)
            time.sleep(self.lease + 1)
        return outage

    def _leader(self) -> str:
        """The node of the operator that decides, which a lease names where there are several."""
        of_lease = ("get", "lease", "seta-operator", "-o", "jsonpath={.spec.holderIdentity}")
        if node := self.cluster.try_kubectl("-n", NAMESPACE, *of_lease).stdout:
            return node
        of_pod = ("get", "pods", "-l", "name=seta-operator", "-o", "jsonpath={.items[0].spec.nodeName}")
        return self.cluster.kubectl("-n", NAMESPACE, *of_pod)

    def _taken_over(self, before: str) -> None:
        """Another node holds it, and a little time has passed."""
        eventually(lambda: self.site.holder() not in ("", before), "another node holds the address", self.lease + 30)
        time.sleep(2)
