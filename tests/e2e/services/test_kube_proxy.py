"""The same questions on the same cluster with the real kube-proxy: an expectation that it does not meet is wrong."""

import pytest

from tests.e2e import moody
from tests.e2e.services import health, matrix
from tests.e2e.services.ground import Ground
from tests.e2e.services.manifests import PLAN
from tests.e2e.steps import Bench


@pytest.mark.parametrize("service", [*PLAN["services"], matrix.HOST_PORT])
def test_kube_proxy_does_what_the_matrix_expects(plain_ground: Ground, service: str):
    wrong = matrix.settled(plain_ground, [service])
    assert not wrong, wrong


def test_kube_proxy_answers_health_checks_as_expected(plain_ground: Ground):
    health.settled(plain_ground)


def test_kube_proxy_keeps_connections_to_a_backend_that_is_not_ready(plain_bench: Bench):
    with moody.node_port(plain_bench) as port:
        moody.turn_while_talking(plain_bench, port)
