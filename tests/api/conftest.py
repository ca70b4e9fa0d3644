"""One control plane per session; one operator process for the cases, others for what kills it."""

import contextlib
import pathlib
from collections.abc import Iterator

import pytest

from tests.api import cluster
from tests.api.client import Client
from tests.api.controlplane import ControlPlane, Operator, control_plane, eventually, programs

ANNOUNCEMENTS = {  # a node that is silent is dead soon
    "enable_l2_announcements": "true",
    "l2_announcements_lease_duration": "3s",
    "l2_announcements_renew_deadline": "2s",
    "l2_announcements_retry_period": "300ms",
}


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    if programs() is None:
        pytest.skip("no kube-apiserver: run `playground install`, or name a directory in KUBEBUILDER_ASSETS")
    with control_plane() as running:
        yield running


@pytest.fixture(scope="session")
def client(plane: ControlPlane) -> Iterator[Client]:
    with contextlib.closing(plane.client()) as open_client:
        yield open_client


@pytest.fixture
def api(client: Client) -> Iterator[Client]:
    """The client, with two namespaces as they were made, and whatever the test made deleted afterwards."""
    for name in ("team-a", "team-b"):  # nobody ends namespaces here: they stay
        client.apply({"kind": "Namespace", "metadata": {"name": name}})
    yield client
    client.wipe(cluster.WRITTEN_BY_USERS)


@pytest.fixture(scope="session")
def _operators(plane: ControlPlane) -> Iterator[dict[str, Operator]]:
    running: dict[str, Operator] = {}
    yield running
    for operator in running.values():
        operator.kill()


@pytest.fixture
def operator(plane: ControlPlane, api: Client, _operators: dict[str, Operator]) -> Iterator[Operator]:
    """The cases' operator: unused identities go soon, and the pool has two pod CIDRs."""
    if "cases" not in _operators:
        config = {
            "identity_gc_interval": "100ms",
            "cluster_pool_ipv4_cidr": "10.0.0.0/23",
            "enable_host_firewall": "true",
            **ANNOUNCEMENTS,
        }
        _operators["cases"] = Operator(plane, "cases", **config)
        _operators["cases"].start()
    yield _operators["cases"]
    api.wipe(cluster.WRITTEN_BY_USERS)
    eventually(lambda: not cluster.leftovers(api), 10, "everything the operator wrote is gone with its reason")


@pytest.fixture
def lone_operator(
    plane: ControlPlane, api: Client, _operators: dict[str, Operator], request: pytest.FixtureRequest
) -> Iterator[Operator]:
    """An operator of the test's own, not started: the cases' one is ended, so that only one ever decides."""
    if "cases" in _operators:
        _operators.pop("cases").kill()
    name = request.node.name.replace("[", "-").strip("]")
    mine = Operator(plane, name, identity_gc_interval="2s", cluster_pool_ipv4_cidr="10.0.0.0/16", **ANNOUNCEMENTS)
    yield mine
    mine.kill()
    api.wipe(cluster.WRITTEN_BY_USERS)
    api.wipe(cluster.WRITTEN_BY_OPERATOR)


@pytest.fixture
def here(request: pytest.FixtureRequest) -> pathlib.Path:
    return request.path.parent
