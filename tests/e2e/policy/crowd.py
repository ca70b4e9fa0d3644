"""250 policies at once, half of them on every pod: how long the wire takes to obey the last of them.

The server is closed first. Then each policy allows a TCP port of its own, so that all of them are enforced when every
port answers (with a reset: nobody listens there). Used by the test beside this file and by the benchmarks.
"""

import time
from typing import Any

from tests.e2e.policy import matrix
from tests.e2e.policy.api import Manifest
from tests.e2e.policy.ground import Ground
from tests.e2e.policy.probers import Prober
from tests.e2e.steps import eventually
from tests.policy import catalogue
from tests.policy.reference.flows import Flow

EVERYWHERE, ONE_APP = 125, 125  # policies that match every pod, and that match a few
FIRST = 10000
CLIENT, SERVER = "green/b", "red/a"  # on two nodes
PATIENCE = 30.0  # seconds
CLOSED = catalogue.policy("cnp red/closed", {"endpointSelector": {"matchLabels": {"app": "a"}}, "ingress": [{}]})


def policies() -> list[Manifest]:
    wide = [catalogue.policy(f"ccnp wide-{n}", _open({}, FIRST + n)) for n in range(EVERYWHERE)]
    narrow = [
        catalogue.policy(f"cnp red/narrow-{n}", _open({"matchLabels": {"app": "a"}}, FIRST + EVERYWHERE + n))
        for n in range(ONE_APP)
    ]
    return [policy for pair in zip(wide, narrow, strict=True) for policy in pair]


def _open(subject: dict[str, Any], port: int) -> dict[str, Any]:
    opened = {"fromEntities": ["all"], "toPorts": [{"ports": [{"port": str(port), "protocol": "TCP"}]}]}
    return {"endpointSelector": subject, "ingress": [opened]}


def seconds(ground: Ground) -> float:
    """From the API server's answer to the last apply until all are enforced. AssertionError: not within PATIENCE."""
    prober, ports = ground.probers[CLIENT], range(FIRST, FIRST + EVERYWHERE + ONE_APP)
    prober.learn([Flow(CLIENT, SERVER, "TCP", port) for port in ports], ground.addresses)
    try:
        ground.become([CLOSED], {})
        eventually(lambda: not any(_answers(prober)), "the server is closed")
        applied = ground.become([CLOSED, *policies()], {})
        while time.time() < applied + PATIENCE:
            if all(_answers(prober)):
                return time.time() - applied
        raise AssertionError(f"250 policies are not enforced within {PATIENCE:.0f} s")
    finally:
        matrix.teach(ground)


def _answers(prober: Prober) -> list[bool]:
    prober.go()
    return list(prober.answers().values())


def closed(ground: Ground) -> bool:
    """Whether what no policy allows is denied."""
    return not ground.reaches(CLIENT, SERVER)
