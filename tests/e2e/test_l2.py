"""Announced addresses on the LAN: asked for every 10 ms while holders die, freeze, are cut off or are moved away.

Each test says who answers before and after, and how long the LAN may be without an answer; all of them that at no
moment two nodes answer. A cluster of its own, with short leases: the waits are these, and little else.
"""

import contextlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, brought_up
from tests.e2e.failovers import second_device
from tests.e2e.steps import eventually, finished

LEASE, DEADLINE, RETRY = 10.0, 5.0, 1.0  # seconds
SLACK = 2.0  # seconds on top of a lease's duration until another node answers; the goal, on an idle machine, is 1
LEADER = 13.0  # seconds until a standby decides in place of an operator that is killed or cut off
API_SERVER = "192.168.10.10"
NAMESPACE = "kube-system"
CHART = str(pathlib.Path(__file__).parents[2] / "deploy/chart")
WEB, API = "10.10.200.1", "10.10.200.2"  # of the services of these names
ADDRESS = {"web": WEB, "api": API}
WORKERS = ("k8s-w1", "k8s-w2")
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


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    if running := os.environ.get("SETA_E2E_L2_CLUSTER"):  # one that is up already, while a test is being written
        yield Lan(Cluster(running))
        return
    values = [part for value in VALUES for part in ("--set", value)]
    for cluster in brought_up("e2e-l2", *values):
        yield prepared(cluster)


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
def frozen(lan: Lan, node: str, program: str) -> Iterator[None]:
    """A program of a node stands still, and goes on in the end."""
    lan.cluster.exec(node, "pkill", "-STOP", "-f", program)
    try:
        yield
    finally:
        lan.cluster.exec(node, "pkill", "-CONT", "-f", program)


@contextlib.contextmanager
def cut_off(lan: Lan, node: str) -> Iterator[None]:
    """No packet of a node reaches the API server, and none is refused; the LAN hears it all the same."""
    rule = ("OUTPUT", "-d", API_SERVER, "-p", "tcp", "--dport", "6443", "-j", "DROP")
    lan.cluster.exec(node, "iptables", "-I", *rule)
    try:
        yield
    finally:
        lan.cluster.exec(node, "iptables", "-D", *rule)


def test_the_services_are_spread_and_each_is_answered_for_by_its_leases_holder(lan: Lan):
    assert sorted(lan.settled().values()) == list(WORKERS)


def test_a_killed_agents_addresses_stay_where_they_are(lan: Lan):
    """Not missed at all where it is up again within the deadline: a matter of the machine."""
    holder = lan.settled()["web"]
    with lan.watched(3 * DEADLINE) as seen:
        lan.cluster.exec(holder, "pkill", "-9", "-f", "seta-agent")
    assert lan.answered_by(seen, WEB) == [holder]
    assert lan.silence(seen, WEB) < DEADLINE
    assert seen[WEB]["runs"][-1][0] == lan.mac[holder]
    print(f"agent killed: no answer for {lan.silence(seen, WEB):.2f} s")


def test_a_rolling_update_of_the_agents_is_not_noticed(lan: Lan):
    holders = lan.settled()
    with lan.watched(30) as seen:
        lan.cluster.kubectl("-n", NAMESPACE, "rollout", "restart", "daemonset/seta")
        rolled_out(lan.cluster)
    for name, address in ADDRESS.items():
        assert (lan.answered_by(seen, address), lan.silence(seen, address)) == ([holders[name]], 0.0)


def test_a_frozen_agents_addresses_go_to_another_and_do_not_come_back(lan: Lan):
    before = lan.settled()["web"]
    with lan.watched(LEASE + 5) as seen:
        event = time.monotonic()
        with frozen(lan, before, "seta-agent"):
            eventually(lambda: lan.holder("web") != before, "another node holds the address", LEASE + 3)
            time.sleep(1)
    seconds = lan.taken_over(seen, "web", before, event)
    assert LEASE - DEADLINE - RETRY < seconds < LEASE + SLACK
    report("agent frozen", seconds)


def test_a_node_that_is_cut_off_is_silent_before_another_answers(lan: Lan):
    """The operator may be on that node, too."""
    before = lan.settled()["web"]
    within = LEASE + SLACK + (LEADER if lan.leader() == before else 0)
    with lan.watched(within + 5) as seen:
        event = time.monotonic()
        with cut_off(lan, before):
            eventually(lambda: lan.holder("web") != before, "another node holds the address", within + 2)
            time.sleep(1)
    seconds = lan.taken_over(seen, "web", before, event)
    assert seconds < within
    report(f"cut off from the API server (in {within:.0f} s)", seconds)


def test_a_short_cut_moves_nothing(lan: Lan):
    holder = lan.settled()["web"]
    with lan.watched(LEASE + 3) as seen, cut_off(lan, holder):
        time.sleep(DEADLINE / 2 - RETRY)
    assert (lan.answered_by(seen, WEB), lan.silence(seen, WEB)) == ([holder], 0.0)


def test_a_device_without_carrier_hands_over_within_a_second(lan: Lan):
    before = lan.settled()["web"]
    port = ("ip", "-n", f"{lan.cluster.name}.lan", "link", "set", f"{before}-2")
    with lan.watched(5) as seen:
        event = time.monotonic()
        lan.cluster.run(*port, "down")
        time.sleep(3)
        lan.cluster.run(*port, "up")
    seconds = lan.taken_over(seen, "web", before, event)
    assert seconds < 1
    report("carrier lost", seconds)


def test_a_deleted_device_hands_over_without_waiting_for_the_lease_and_its_successor_is_used(lan: Lan):
    before = lan.settled()["web"]
    with lan.watched(6) as seen:
        event = time.monotonic()
        lan.cluster.run("ip", "-n", f"{lan.cluster.name}.{before}", "link", "delete", "ens6")
        time.sleep(4)
    try:
        seconds = lan.taken_over(seen, "web", before, event)
    finally:
        lan.replace(before)
    assert seconds < LEASE - DEADLINE - RETRY
    report("device deleted", seconds)
    after = lan.holder("web")
    lan.cluster.kubectl("cordon", after)
    try:
        eventually(lambda: lan.holder("web") == before, "it has the address again, on its new device")
    finally:
        lan.cluster.kubectl("uncordon", after)
    assert lan.settled()["web"] == before


def test_a_cordoned_node_hands_over_within_a_second(lan: Lan):
    before = lan.settled()["web"]
    with lan.watched(5) as seen:
        event = time.monotonic()
        lan.cluster.kubectl("cordon", before)
        time.sleep(3)
        lan.cluster.kubectl("uncordon", before)
    seconds = lan.taken_over(seen, "web", before, event)
    assert seconds < 1
    assert lan.silence(seen, WEB) < 0.5
    report("cordoned", seconds)


def test_a_node_that_the_policy_selects_no_more_hands_over_within_a_second(lan: Lan):
    before = lan.settled()["web"]
    with lan.watched(5) as seen:
        event = time.monotonic()
        lan.cluster.kubectl("label", "node", before, f"{SILENT}=")
        time.sleep(3)
        lan.cluster.kubectl("label", "node", before, f"{SILENT}-")
    seconds = lan.taken_over(seen, "web", before, event)
    assert seconds < 1
    report("selected no more", seconds)


def test_a_holder_that_dies_together_with_the_operator_is_replaced(lan: Lan):
    before = lan.settled()["web"]
    within = LEASE + LEADER + SLACK
    with lan.watched(within + 5) as seen:
        event = time.monotonic()
        with frozen(lan, before, "seta-agent"):
            lan.cluster.exec(lan.leader(), "pkill", "-9", "-f", "seta-operator")
            eventually(lambda: lan.holder("web") != before, "another node holds the address", within + 2)
            time.sleep(1)
    seconds = lan.taken_over(seen, "web", before, event)
    assert seconds < within
    report("agent frozen, operator killed", seconds)


def test_without_an_api_server_the_lan_is_silent_and_then_answered_by_the_same(lan: Lan):
    holders = lan.settled()
    with lan.watched(LEASE + 12) as seen:
        with frozen(lan, "k8s-s", "kube-apiserver"):
            time.sleep(LEASE + 1)
        back = time.monotonic()
    for name, address in ADDRESS.items():
        assert lan.answered_by(seen, address) == [holders[name]]
        runs = seen[address]["runs"]
        assert [bool(mac) for mac, _, _ in runs] == [True, False, True]
        report(f"API server back ({name})", max(0.0, runs[-1][1] + seen["started"] - back))


def report(what: str, seconds: float) -> None:
    """Read with `pytest -s`; what the figures are for stands in docs/benchmarks.md."""
    print(f"{what}: another node answers after {seconds:.2f} s")
