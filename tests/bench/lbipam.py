"""LB-IPAM: seconds of CPU until every LoadBalancer Service has its address, and what a change costs, no cluster.

Each round is a process of its own (lbipam_run.py), so that its memory is its own.
"""

import json
import subprocess
import sys
from typing import Any

from tests.bench import report

ROUNDS = 3
SERVICES = 10_000
HOW = (
    "Services of type LoadBalancer, a pool for all of them (a /16) and ten for one namespace each. CPU time of the "
    "operator to decide and write each status once, and what the process grew by; the API server is a dictionary that "
    f"answers at once. {ROUNDS} processes."
)


def measure() -> report.Section:
    rounds = [_round() for _ in range(ROUNDS)]
    figures: list[report.Figure] = []
    for n, first in enumerate(rounds[0]):
        name = f"{SERVICES:,} services: {first['step']} ({first['writes']:,} writes)"
        figures.append(report.Figure(name, "s", [one[n]["seconds"] for one in rounds], goal=first["goal"]))
        if first["megabytes"] >= 1:
            figures.append(report.Figure(f"{name}, memory", "MB", [one[n]["megabytes"] for one in rounds]))
    return report.Section("LB-IPAM", HOW, figures)


def _round() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.bench.lbipam_run", str(SERVICES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    steps: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return steps
