"""How long the world does not get through to a LoadBalancer address, by what befell the node that answers for it.

With the leases of the chart's defaults, on the site of the end-to-end tests (tests/e2e/failovers.py).
"""

import pathlib
from collections.abc import Callable, Iterator

from tests.bench import report
from tests.bench.cluster import Cluster
from tests.e2e import conftest, failovers
from tests.e2e.failovers import Failovers, Outage, Site

LEASE = 15.0  # leaseDuration of the chart
ROUNDS = 3
OPTIONS = tuple(part for value in failovers.VALUES for part in ("--set", value))
HOW = (
    f"New connections from the world, {failovers.PACE} a second, {failovers.PATIENCE} s for each; leaseDuration "
    f"{LEASE:.0f} s. Seconds from the first that failed until they succeed again; 0: none failed. Where the router is "
    "involved it asks the LAN anew all the time."
)


def measure(cluster: Cluster, netbench: pathlib.Path) -> Iterator[report.Section]:
    """The section so far, after each cause."""
    site = Site(conftest.Cluster(cluster.name), netbench)
    site.build()
    failing = Failovers(site, LEASE)
    causes: list[tuple[str, Callable[[], Outage], int, str]] = [
        ("carrier lost", failing.carrier_lost, ROUNDS, "< 1 s"),
        ("agent killed", failing.agent_killed, 1, "≤ 16 s"),
        ("operator killed", failing.operator_killed, 1, "≤ 16 s"),
        ("agent frozen", failing.agent_frozen, ROUNDS, "≤ 16 s"),
        ("API server stopped; from its return", failing.api_server_back, 1, "≤ 16 s"),
        ("node killed", failing.node_killed, 1, "≤ 16 s"),
    ]
    figures = []
    for name, befalls, rounds, goal in causes:
        figures.append(report.Figure(name, "s", [befalls().seconds for _ in range(rounds)], goal=goal))
        yield report.Section("Failover of an announced address", HOW, figures)
