"""Services that prefer backends nearby, by the hints that Kubernetes writes, while backends and nodes move about.

The zones as they are first are part of the matrix.
"""

from tests.e2e.services import matrix
from tests.e2e.services.ground import Ground
from tests.e2e.services.manifests import PLAN

CHOOSY = [name for name, spec in PLAN["services"].items() if "trafficDistribution" in spec]
ZONES = PLAN["zones"]
WORKERS_TOGETHER = {"k8s-s": "zone-a", "k8s-w1": "zone-b", "k8s-w2": "zone-b"}


def test_a_node_in_another_zone_asks_the_backends_there(other_ground: Ground):
    try:
        other_ground.zone({**ZONES, "k8s-s": "zone-b"})
        assert not matrix.settled(other_ground, CHOOSY)
    finally:
        other_ground.zone(ZONES)


def test_without_a_backend_nearby_those_further_away_serve(other_ground: Ground):
    with other_ground.without("back-1"):
        assert not matrix.settled(other_ground, CHOOSY)
    assert not matrix.settled(other_ground, CHOOSY)


def test_in_one_zone_the_nodes_own_backends_are_preferred_only_where_asked_for(other_ground: Ground):
    """Kubernetes looks at the zones of backends when one comes or goes."""
    try:
        with other_ground.without("back-1"):
            other_ground.zone(WORKERS_TOGETHER)
        assert not matrix.settled(other_ground, CHOOSY)
    finally:
        with other_ground.without("back-1"):
            other_ground.zone(ZONES)
