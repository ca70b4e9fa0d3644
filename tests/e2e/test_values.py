"""Helm values that change what policies mean, changed on the running cluster as its administrator would."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import helm
from tests.e2e.steps import Bench, cnp, eventually, pod

NODE = "192.168.10.102"  # k8s-w2, where neither pod is
NAMED = {"matchLabels": {"app": "asker"}}


@pytest.fixture(scope="module")
def pods(bench: Bench) -> Iterator[dict[str, str]]:
    two = [pod("asked", "k8s-w1"), pod("asker", "k8s-s")]
    addresses = bench.start(*two)
    bench.serve("asked")
    yield addresses
    bench.delete(*two)


@pytest.fixture(scope="module")
def release(bench: Bench) -> Iterator[Bench]:
    """The chart's release, which has its values back in the end."""
    with helm.restored(bench.cluster):
        yield bench


def upgrade(bench: Bench, **values: Any) -> None:
    helm.upgrade(bench.cluster, **values)


def pings(bench: Bench, address: str) -> bool:
    return bench.shell("asker", f"ping -c 1 -W 1 {address}").returncode == 0


def test_always_never_and_nodes_in_address_ranges(release: Bench, pods: dict[str, str]):
    asked = pods["asked"]
    let_in = cnp("in", {"endpointSelector": {"matchLabels": {"app": "asked"}}, "ingress": [{"fromEndpoints": [NAMED]}]})
    let_out = cnp("out", {"endpointSelector": NAMED, "egress": [{"toCIDR": [f"{NODE}/32", f"{asked}/32"]}]})
    try:
        assert release.connects("asker", asked), "default: no policy, no restriction"
        upgrade(release, policyEnforcementMode="always")
        eventually(lambda: not release.connects("asker", asked), "always: nobody is let in without a policy")
        release.apply(let_in)
        assert not release.connects("asker", asked), "always: nor out"
        release.apply(cnp("anywhere", {"endpointSelector": NAMED, "egress": [{}, {"toEntities": ["all"]}]}))
        eventually(lambda: release.connects("asker", asked), "always: with policies for both ends it works")

        upgrade(release, policyEnforcementMode="never")
        release.delete(let_in, cnp("anywhere", {}))
        release.apply(release.deny("asked"))
        eventually(lambda: release.get("cnp", "deny-asked").get("status"), "the policy is judged")
        assert release.connects("asker", asked), "never: a policy is judged, and not enforced"

        upgrade(release, policyEnforcementMode="default")
        eventually(lambda: not release.connects("asker", asked), "default: now it is")
        release.delete(release.deny("asked"))
        release.apply(let_out)
        eventually(lambda: not pings(release, NODE), "an address range never means a node")
        upgrade(release, policyCIDRMatchMode=["nodes"])
        eventually(lambda: pings(release, NODE), "nodes: now it does")
        assert not pings(release, asked), "nodes: and still never a pod"
    finally:
        release.delete(let_in, let_out, cnp("anywhere", {}), release.deny("asked"))
