"""250 policies, 125 of them matching every pod: from the last apply until the wire obeys all of them.

On the ground of the end-to-end policy matrix (tests/e2e/policy), with the same crowd as its test."""

import pathlib
import tempfile

from tests.bench import report
from tests.bench.cluster import Cluster
from tests.e2e import conftest
from tests.e2e.policy import crowd, matrix, probers
from tests.e2e.policy.ground import Ground

ROUNDS = 5
HOW = f"{ROUNDS} times; each policy allows a port of its own, probed from another node. To the next quarter second."


def measure(cluster: Cluster) -> report.Section:
    with tempfile.TemporaryDirectory() as scratch:
        ground = Ground(conftest.Cluster(cluster.name), probers.built(pathlib.Path(scratch)))
    try:
        ground.build()
        matrix.teach(ground)
        took = [crowd.seconds(ground) for _ in range(ROUNDS)]
    finally:
        ground.leave()
    figure = report.Figure("250 policies, last apply → enforced", "s", took, goal="< 1 s")
    return report.Section("Many policies", HOW, [figure])
