"""The operator and an agent among 5,000 identities and 500 policies: seconds and memory of each step, no cluster.

Each round is a process of its own (scale_run.py), so that its memory is its own.
"""

import json
import subprocess
import sys
from typing import Any

from tests.bench import report

ROUNDS = 3
SIZES = ((5000, 500), (1000, 250))  # identities, policies
HOW = (
    "Half of the policies match every pod; among the others are ranges with exceptions, NetworkPolicies and entities. "
    "CPU time to decide, writes, and what the process grew by; the API server is a dictionary that answers at once. "
    f"{ROUNDS} processes."
)


def measure() -> report.Section:
    figures: list[report.Figure] = []
    for identities, policies in SIZES:
        rounds = [_round(identities, policies) for _ in range(ROUNDS)]
        size = f"{identities:,} identities × {policies} policies"
        for n, first in enumerate(rounds[0]):
            same = [one[n] for one in rounds]
            name = f"{size}: {first['step']} ({first['writes']:,} writes)"
            figures.append(report.Figure(name, "s", [one["seconds"] for one in same], goal=first["goal"]))
            if first["megabytes"] >= 1:
                figures.append(report.Figure(f"{name}, memory", "MB", [one["megabytes"] for one in same]))
    return report.Section("Policy at scale", HOW, figures)


def _round(identities: int, policies: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.bench.scale_run", str(identities), str(policies)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    steps: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return steps
