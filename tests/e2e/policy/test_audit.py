"""Where audit mode is on, everything passes that policies deny, and nothing else is different: of a pod, by its
annotation or its endpoint's own option, and of the cluster, by the chart's value."""

import json
from collections.abc import Collection

from tests.e2e import helm
from tests.e2e.policy import matrix
from tests.e2e.policy.ground import PLAN, Ground
from tests.policy import catalogue

ANNOTATED, CONFIGURED = "red/a", "red/b"
POD = {"kind": "Pod", "metadata": {"namespace": "red", "name": "a"}}
ANNOTATION = "policy.seta.dev/audit-mode"
CLOSED = catalogue.policy("cnp red/closed", {"endpointSelector": {}, "ingress": [{"fromEndpoints": []}]})


def differences(ground: Ground, audited: Collection[str]) -> str:
    """Between the wire and what is expected with CLOSED where these pods are audited."""
    enforced = matrix.expected(ground, [CLOSED])
    wanted = {flow: allowed or flow.destination in audited for flow, allowed in enforced.items()}
    assert bool(audited) == (wanted != enforced)
    return matrix.settled(ground, wanted)


def configure(ground: Ground, pod: str, option: str) -> None:
    """As `seta endpoint config` does it: PolicyAuditMode=..."""
    node = ("--node", PLAN["pods"][pod]["node"])
    endpoints = json.loads(ground.cluster.seta("endpoint", "list", "-o", "json", *node))
    number = next(str(one["id"]) for one in endpoints if f"{one['namespace']}/{one['pod']}" == pod)
    ground.cluster.seta("endpoint", "config", number, f"PolicyAuditMode={option}", *node)


def test_an_annotated_pod_lets_pass_what_its_policies_deny(ground: Ground):
    ground.become([CLOSED], {})
    assert not differences(ground, [])
    ground.api.annotate(POD, {ANNOTATION: "true"})
    try:
        assert not differences(ground, [ANNOTATED])
    finally:
        ground.api.annotate(POD, {ANNOTATION: None})
    assert not differences(ground, [])


def test_so_does_a_pod_whose_endpoint_is_told_to(ground: Ground):
    ground.become([CLOSED], {})
    configure(ground, CONFIGURED, "Enabled")
    try:
        assert not differences(ground, [CONFIGURED])
    finally:
        configure(ground, CONFIGURED, "Disabled")
    assert not differences(ground, [])


def test_so_does_the_cluster_but_for_an_endpoint_that_is_told_not_to(ground: Ground):
    ground.become([CLOSED], {})
    configure(ground, CONFIGURED, "Disabled")
    with helm.restored(ground.cluster):
        helm.upgrade(ground.cluster, policyAuditMode=True)
        assert not differences(ground, PLAN["pods"].keys() - {CONFIGURED})
    assert not differences(ground, [])
