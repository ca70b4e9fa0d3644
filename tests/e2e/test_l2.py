"""Announced addresses on the LAN: asked for every 10 ms while holders die, freeze, are cut off or are moved away.

Each test says who answers before and after, and how long the LAN may be without an answer; all of them that at no
moment two nodes answer. A cluster of its own, with short leases: the waits are these, and little else.
"""

import os
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Cluster, brought_up
from tests.e2e.failovers import NAMESPACE, WORKERS, frozen
from tests.e2e.lan import (
    ADDRESS,
    DEADLINE,
    LEASE,
    RETRY,
    SILENT,
    VALUES,
    WEB,
    Lan,
    cut_off,
    prepared,
    rolled_out,
)
from tests.e2e.steps import eventually

SLACK = 2.0  # seconds on top of a lease's duration until another node answers; the goal, on an idle machine, is 1
LEADER = 13.0  # seconds until a standby decides in place of an operator that is killed or cut off


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    if running := os.environ.get("SETA_E2E_L2_CLUSTER"):  # one that is up already, while a test is being written
        yield Lan(Cluster(running))
        return
    values = [part for value in VALUES for part in ("--set", value)]
    for cluster in brought_up("e2e-l2", *values):
        yield prepared(cluster)


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
        with frozen(lan.cluster, before, "seta-agent"):
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
        with frozen(lan.cluster, before, "seta-agent"):
            lan.cluster.exec(lan.leader(), "pkill", "-9", "-f", "seta-operator")
            eventually(lambda: lan.holder("web") != before, "another node holds the address", within + 2)
            time.sleep(1)
    seconds = lan.taken_over(seen, "web", before, event)
    assert seconds < within
    report("agent frozen, operator killed", seconds)


def test_without_an_api_server_the_lan_is_silent_and_then_answered_by_the_same(lan: Lan):
    holders = lan.settled()
    with lan.watched(LEASE + 12) as seen:
        with frozen(lan.cluster, "k8s-s", "kube-apiserver"):
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
