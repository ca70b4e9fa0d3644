"""The ground that the service matrix is asked on: built once per cluster, left without a trace."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import MODES, Cluster, brought_up
from tests.e2e.services import ground, semantics
from tests.e2e.services.ground import Ground
from tests.e2e.services.semantics import Facts, Network

OTHER_VALUES = (
    "loadBalancer.mode=dsr",
    "loadBalancer.algorithm=maglev",
    "loadBalancer.acceleration=generic",
    "loadBalancer.serviceTopology=true",
    "socketLB.hostNamespaceOnly=true",
    "bpf.lbExternalClusterIP=true",
)


@pytest.fixture(scope="session")
def services_ground(cluster: Cluster) -> Iterator[Ground]:
    yield from ground.built(cluster, Facts(Network.SETA))


@pytest.fixture(scope="module")
def plain_ground(plain_cluster: Cluster) -> Iterator[Ground]:
    yield from ground.built(plain_cluster, semantics.KUBE_PROXY)


@pytest.fixture(scope="package")
def other_cluster() -> Iterator[Cluster]:
    """Seta with whatever can be chosen about services chosen otherwise; disturbs nobody, so it may be uninstalled."""
    if running := os.environ.get("SETA_E2E_OTHER_CLUSTER"):
        yield Cluster(running)
        return
    values = [part for value in (*MODES["native"], *OTHER_VALUES) for part in ("--set", value)]
    yield from brought_up("e2e-other", *values)


@pytest.fixture(scope="package")
def other_ground(other_cluster: Cluster) -> Iterator[Ground]:
    facts = Facts(Network.SETA, open_inside=True, topology=True, direct=True)
    yield from ground.built(other_cluster, facts)
