"""A pod in audit mode lets pass what its policies deny; the policies of all others go on being enforced."""

from tests.e2e.policy import matrix
from tests.e2e.policy.ground import Ground
from tests.policy import catalogue

AUDITED = "red/a"
POD = {"kind": "Pod", "metadata": {"namespace": "red", "name": "a"}}
ANNOTATION = "policy.seta.dev/audit-mode"
CLOSED = catalogue.policy("cnp red/closed", {"endpointSelector": {}, "ingress": [{"fromEndpoints": []}]})


def test_an_audited_pod_lets_pass_what_its_policies_deny(ground: Ground):
    ground.become([CLOSED], {})
    enforced = matrix.expected(ground, [CLOSED])
    audited = {flow: allowed or flow.destination == AUDITED for flow, allowed in enforced.items()}
    assert enforced != audited
    assert not matrix.settled(ground, enforced)
    ground.api.annotate(POD, {ANNOTATION: "true"})
    try:
        assert not matrix.settled(ground, audited)
    finally:
        ground.api.annotate(POD, {ANNOTATION: None})
    assert not matrix.settled(ground, enforced)
