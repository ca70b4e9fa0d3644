"""Each service through each way in, over each protocol, from pods, nodes and the world, and whom the backends see."""

import pytest

from tests.e2e.services import matrix
from tests.e2e.services.ground import Ground
from tests.e2e.services.manifests import PLAN

LIVE_CHANGES = {  # service -> what is said of it later; what it was, it becomes again
    "nodeport": ({"externalTrafficPolicy": "Local"}, {"externalTrafficPolicy": "Cluster"}),
    "cluster": ({"internalTrafficPolicy": "Local"}, {"internalTrafficPolicy": "Cluster"}),
    "balanced": ({"loadBalancerSourceRanges": ["203.0.113.0/24"]}, {"loadBalancerSourceRanges": None}),
    "external": ({"selector": {"app": "nobody"}}, {"selector": {"app": "back"}}),
}


@pytest.mark.parametrize("service", [*PLAN["services"], matrix.HOST_PORT])
def test_a_service_does_what_its_spec_says(services_ground: Ground, service: str):
    wrong = matrix.settled(services_ground, [service])
    assert not wrong, wrong


@pytest.mark.parametrize("service", LIVE_CHANGES)
def test_a_changed_spec_is_obeyed_and_so_is_its_return(services_ground: Ground, service: str):
    for spec in LIVE_CHANGES[service]:
        services_ground.patch(service, spec)
        wrong = matrix.settled(services_ground, [service])
        assert not wrong, f"{spec}\n{wrong}"
