"""A LoadBalancer address from a pool, announced on the LAN, as the world sees it, whatever befalls its holder.

The leases are short: the waits are these, and little else. Who answers when on the LAN is test_l2's.
"""

import os
from collections.abc import Iterator

import pytest

from tests.e2e import failovers
from tests.e2e.conftest import Cluster, brought_up
from tests.e2e.failovers import Failovers, Outage, Site
from tests.e2e.steps import eventually
from tests.netbench import build

LEASE, DEADLINE, RETRY = 8.0, 6.0, 1.0  # seconds; a killed agent is back before the deadline
SLACK = 1.0  # seconds on top of a lease's duration
BUSY = 0.5  # seconds that a moment may take on a machine that has other work
VALUES = (
    *failovers.VALUES,
    f"l2announcements.leaseDuration={LEASE:.0f}s",
    f"l2announcements.leaseRenewDeadline={DEADLINE:.0f}s",
    f"l2announcements.leaseRetryPeriod={RETRY:.0f}s",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    netbench = build.binary(tmp_path_factory.mktemp("netbench"))
    if running := os.environ.get("SETA_E2E_LB_CLUSTER"):  # one that is up already, while a test is being written
        made = Site(Cluster(running), netbench)
        made.build()
        yield made
        return
    values = [part for value in VALUES for part in ("--set", value)]
    for cluster in brought_up("e2e-lb", *values):
        made = Site(cluster, netbench)
        made.build()
        yield made


@pytest.fixture
def failing(site: Site) -> Failovers:
    return Failovers(site, LEASE)


def told(what: str, outage: Outage) -> float:
    """Read with `pytest -s`; docs/benchmarks.md has the figures of the default leases."""
    print(f"{what}: the world gets through again after {outage.seconds:.2f} s, {outage.lost} visits lost")
    return outage.seconds


def test_the_world_reaches_the_pools_first_usable_address(site: Site):
    assert site.address == "10.10.200.1"  # allowFirstLastIPs: "No" keeps .0 and .7
    answer = site.cluster.exec("world", "curl", "-s", "--max-time", "2", f"http://{site.address}/")
    assert "Hostname: shop" in answer


def test_the_lan_hears_the_holders_mac(site: Site):
    holder = site.settled()
    shown = site.cluster.exec(holder, "cat", "/sys/class/net/ens6/address").strip()
    capture = ("timeout", "10", "tcpdump", "-c1", "-lnei", "br0", f"arp[6:2] == 2 and src host {site.address}")
    with site.cluster.popen_exec("lan", *capture) as listening:
        get = ("curl", "-s", "--max-time", "2", f"http://{site.address}/")

        def asked() -> bool:
            site.cluster.exec("router", "ip", "neighbour", "flush", "dev", "lan0")
            return not site.cluster.try_exec("world", *get).returncode and listening.poll() is not None

        eventually(asked, "the router's question is answered")
        heard, _ = listening.communicate()
    assert f"{site.address} is-at {shown}" in heard


def test_a_killed_agent_costs_the_world_nothing(failing: Failovers):
    outage = failing.agent_killed()
    assert (told("agent killed", outage), outage.lost) == (0.0, 0)


def test_a_killed_operator_costs_the_world_nothing(failing: Failovers):
    outage = failing.operator_killed()
    assert (told("operator killed", outage), outage.lost) == (0.0, 0)


def test_a_lost_carrier_costs_the_world_less_than_a_second(failing: Failovers):
    """Nothing at all, where the router was just asking: another node has taken over all the same."""
    assert told("carrier lost", failing.carrier_lost()) < 1


def test_a_frozen_agent_costs_the_world_no_more_than_the_lease(failing: Failovers):
    assert told("agent frozen", failing.agent_frozen()) < LEASE + SLACK


def test_when_the_api_server_is_back_so_is_the_address(failing: Failovers):
    assert told("API server back", failing.api_server_back()) < RETRY + SLACK + BUSY


def test_a_killed_node_costs_the_world_no_more_than_the_lease(failing: Failovers):
    """The last test: the node stays dead."""
    assert told("node killed", failing.node_killed()) < LEASE + SLACK
