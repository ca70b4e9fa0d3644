"""The ground that the service matrix is asked on: built once per cluster, left without a trace."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Cluster
from tests.e2e.services import ground
from tests.e2e.services.ground import Ground
from tests.e2e.services.semantics import Network


@pytest.fixture(scope="session")
def services_ground(cluster: Cluster) -> Iterator[Ground]:
    yield from ground.built(cluster, Network.SETA)


@pytest.fixture(scope="module")
def plain_ground(plain_cluster: Cluster) -> Iterator[Ground]:
    yield from ground.built(plain_cluster, Network.KUBE_PROXY)
