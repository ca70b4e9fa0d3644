"""The chart's roles give an agent the verbs that it uses, and no others: the API server's audit log tells."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests import rights
from tests.e2e.conftest import Cluster, brought_up
from tests.e2e.steps import cnp, eventually, pod

AGENT = "system:serviceaccount:kube-system:seta"
BY_CHANCE = {("get", "cilium.io", "ciliumendpoints")}  # where a pod of the same name was quicker than the end of one
SHIP = {"matchLabels": {"app": "ship"}}


@pytest.fixture(scope="module")
def small() -> Iterator[Cluster]:
    """One node, and every value that gives an agent rights."""
    yield from brought_up("e2e-rights", "--nodes", "1", "--set", "l2announcements.enabled=true")


def granted(cluster: Cluster) -> set[rights.Right]:
    everywhere = cluster.kubectl("get", "clusterrole", "seta", "-o", "json")
    here = cluster.kubectl("-n", "kube-system", "get", "role", "seta", "-o", "json")
    return rights.granted(map(json.loads, (everywhere, here)))


def used(cluster: Cluster) -> tuple[set[rights.Right], set[rights.Right]]:
    return rights.used(cluster.exec("k8s-s", "cat", "/var/log/audit.log"), AGENT)


def unused(cluster: Cluster) -> set[rights.Right]:
    return granted(cluster) - used(cluster)[0] - BY_CHANCE


def sets(cluster: Cluster) -> str:
    return cluster.kubectl("get", "selectorsets", "-o", "name")


def runs(cluster: Cluster, name: str) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod(name, labels={"app": "ship"})).encode())
    cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def test_every_right_of_an_agent_is_used_and_none_is_missing(small: Cluster):
    policy = cnp("crew", {"endpointSelector": SHIP, "ingress": [{"fromEndpoints": [SHIP]}]})
    small.kubectl("apply", "-f", "-", stdin=json.dumps(policy).encode())
    eventually(lambda: sets(small), "its sets are there, and new identities are made with them")
    runs(small, "first")
    # A set that the identity was made with, and that the agent does not know, is asked for.
    small.kubectl("delete", "cnp", "crew")
    eventually(lambda: not sets(small), "its sets are gone")
    runs(small, "second")
    small.kubectl("-n", "kube-system", "rollout", "restart", "daemonset/seta")
    small.kubectl("-n", "kube-system", "rollout", "status", "daemonset/seta", "--timeout=60s")
    small.kubectl("delete", "pod", "first", "second")
    with contextlib.suppress(AssertionError):
        eventually(lambda: not unused(small), "all are used")
    assert unused(small) == set()
    asked, forbidden = used(small)
    assert forbidden == set()
    assert asked <= granted(small)
