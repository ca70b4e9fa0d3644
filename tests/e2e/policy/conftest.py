"""The ground that the situations happen on: built once per cluster, left without a trace."""

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Cluster
from tests.e2e.policy import matrix, probers
from tests.e2e.policy.ground import Ground


@pytest.fixture(scope="session")
def prober(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return probers.built(tmp_path_factory.mktemp("prober"))


@pytest.fixture(scope="session")
def ground(cluster: Cluster, prober: bytes) -> Iterator[Ground]:
    ground = Ground(cluster, prober)
    try:
        ground.build()
        matrix.teach(ground)
        yield ground
    finally:
        ground.leave()
