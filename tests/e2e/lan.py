"""Announced addresses as the LAN hears them, on a cluster whose nodes have a second device there. Of test_l2.py."""

import contextlib
import json
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.e2e.conftest import Cluster
from tests.e2e.failovers import CHART, NAMESPACE, WORKERS, second_device
from tests.e2e.steps import eventually, finished

LEASE, DEADLINE, RETRY = 10.0, 5.0, 1.0  # seconds
API_SERVER = "192.168.10.10"
WEB, API = "10.10.200.1", "10.10.200.2"  # of the services of these names
ADDRESS = {"web": WEB, "api": API}
LANWATCH = str(pathlib.Path(__file__).parent / "lanwatch.py")
VALUES = (
    "routingMode=native",
    "autoDirectNodeRoutes=true",
    "l2announcements.enabled=true",
    f"l2announcements.leaseDuration={LEASE:.0f}s",
    f"l2announcements.leaseRenewDeadline={DEADLINE:.0f}s",
    f"l2announcements.leaseRetryPeriod={RETRY:.0f}s",
)
SILENT = "example.org/silent"  # label of nodes that are not to announce anything
POLICY = {
    "apiVersion": "cilium.io/v2alpha1",
    "kind": "CiliumL2AnnouncementPolicy",
    "metadata": {"name": "workers"},
    "spec": {
        "nodeSelector": {
            "matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [*WORKERS]},
                {"key": SILENT, "operator": "DoesNotExist"},
            ]
        },
        "interfaces": ["^ens6$"],
        "externalIPs": True,
    },
}


def service(name: str) -> dict[str, Any]:
    """Nobody is behind it: who answers on the LAN does not depend on that."""
    spec = {"selector": {"app": "nobody"}, "ports": [{"port": 80}], "externalIPs": [ADDRESS[name]]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


class Lan:
    """The cluster's LAN, and the leases that say who should answer on it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.mac = {node: self._mac(node) for node in WORKERS}

    def apply(self, *objects: dict[str, Any]) -> None:
        for one in objects:
            self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(one).encode())

    def holder(self, name: str) -> str:
        lease = f"lease/cilium-l2announce-default-{name}"
        return self.cluster.try_kubectl("-n", NAMESPACE, "get", lease, "-o", "jsonpath={.spec.holderIdentity}").stdout

    def settled(self) -> dict[str, str]:
        """service -> its holder, once each is answered for."""
        for name in ADDRESS:
            eventually(lambda name=name: self.holder(name) in WORKERS, f"{name} has a holder", 60)
        with self.watched(1.0) as seen:
            pass
        for name, address in ADDRESS.items():
            assert seen[address]["runs"][-1][0] == self.mac[self.holder(name)]
        return {name: self.holder(name) for name in ADDRESS}

    def leader(self) -> str:
        """The node of the operator that decides."""
        lease = ("lease/seta-operator", "-o", "jsonpath={.spec.holderIdentity}")
        return self.cluster.kubectl("-n", NAMESPACE, "get", *lease)

    @contextlib.contextmanager
    def watched(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Both addresses are asked for meanwhile; filled at the end."""
        seen: dict[str, Any] = {}
        with self.cluster.popen_exec("lan", sys.executable, LANWATCH, "br0", str(seconds), *ADDRESS.values()) as asking:
            try:
                assert asking.stdout is not None
                assert asking.stdout.readline() == "asking\n"
                time.sleep(0.2)  # answers of before whatever happens now
                yield seen
                seen |= json.loads(finished(asking, seconds + 30))
            finally:
                asking.kill()
        for address in ADDRESS.values():
            assert seen[address]["doubles"] == [], f"two nodes answered for {address}"

    def answered_by(self, seen: dict[str, Any], address: str) -> list[str]:
        """The nodes that answered, in turn, without the silence between them."""
        names = {mac: node for node, mac in self.mac.items()}
        turns = [names[mac] for mac, _, _ in seen[address]["runs"] if mac]
        return [node for index, node in enumerate(turns) if index == 0 or turns[index - 1] != node]

    def silence(self, seen: dict[str, Any], address: str) -> float:
        """The longest time without an answer, in seconds."""
        return max([0.0, *(last - first for mac, first, last in seen[address]["runs"] if not mac)])

    def taken_over(self, seen: dict[str, Any], name: str, before: str, event: float) -> float:
        """Seconds from the event to the other node's first answer; the one before never answers again."""
        after = next(node for node in WORKERS if node != before)
        assert self.answered_by(seen, ADDRESS[name]) == [before, after]
        runs = seen[ADDRESS[name]]["runs"]
        first = next(first for mac, first, _ in runs if mac == self.mac[after])
        assert self.mac[after] in {mac for _, mac in seen[ADDRESS[name]]["told"]}
        return first + seen["started"] - event

    def replace(self, node: str) -> None:
        """The device it announces on is another one of the same name."""
        second_device(self.cluster.name, node)
        self.mac[node] = self._mac(node)

    def _mac(self, node: str) -> str:
        shown = json.loads(self.cluster.exec(node, "ip", "-j", "link", "show", "ens6"))
        return shown[0]["address"]


def prepared(cluster: Cluster) -> Lan:
    for node in ("k8s-s", *WORKERS):
        second_device(cluster.name, node)
    cluster.run("helm", "-n", NAMESPACE, "upgrade", "seta", CHART, "--reuse-values", "--set", "devices=ens5 ens6")
    rolled_out(cluster)
    made = Lan(cluster)
    made.apply(POLICY, service("web"), service("api"))
    return made


def rolled_out(cluster: Cluster) -> None:
    cluster.kubectl(
        "-n", NAMESPACE, "rollout", "status", "daemonset/seta", "deployment/seta-operator", "--timeout=120s"
    )


@contextlib.contextmanager
def cut_off(lan: Lan, node: str) -> Iterator[None]:
    """No packet of a node reaches the API server, and none is refused; the LAN hears it all the same."""
    rule = ("OUTPUT", "-d", API_SERVER, "-p", "tcp", "--dport", "6443", "-j", "DROP")
    lan.cluster.exec(node, "iptables", "-I", *rule)
    try:
        yield
    finally:
        lan.cluster.exec(node, "iptables", "-D", *rule)
