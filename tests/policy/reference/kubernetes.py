"""NetworkPolicy (networking.k8s.io/v1), as the Kubernetes API reference describes it."""

import ipaddress
import typing

from tests.policy.reference import peers, selectors, traffic
from tests.policy.reference.cluster import Pod
from tests.policy.reference.flows import Manifest, RuleRef
from tests.policy.reference.statements import Answer, Question, Statement
from tests.policy.reference.traffic import Coverage

KINDS = ("NetworkPolicy",)


def answers(policy: Manifest, question: Question) -> typing.Iterator[Answer]:
    """podSelector: "selects the pods to which this NetworkPolicy object applies. An empty selector matches all pods in
    the policy's namespace"; omitted, it is empty [NetworkPolicySpec]. A policy selects pods, never nodes."""
    spec, namespace = policy.get("spec") or {}, _namespace(policy)
    subject = question.subject
    if not isinstance(subject, Pod) or question.direction not in _directions(spec):
        return
    if selectors.selects_kubernetes_peer(spec.get("podSelector"), None, subject.labels, namespace):
        yield Answer(
            policy=RuleRef(policy["kind"], namespace, policy["metadata"]["name"], "spec"),
            default_deny=True,
            statements=tuple(_statements(policy, question)),
        )


def _namespace(policy: Manifest) -> str:
    return str(policy["metadata"].get("namespace") or "default")


def _directions(spec: Manifest) -> set[str]:
    """policyTypes: "policies that contain an egress section are assumed to affect egress, and all policies (whether or
    not they contain an ingress section) are assumed to affect ingress"; given, it alone counts, and a section of the
    other direction says nothing [NetworkPolicySpec]."""
    if spec.get("policyTypes"):
        return {each.lower() for each in spec["policyTypes"]}
    return {"ingress", "egress"} if spec.get("egress") else {"ingress"}


def _statements(policy: Manifest, question: Question) -> typing.Iterator[Statement]:
    """Of a rule, "the traffic must match both ports and from"; an empty one matches all [NetworkPolicyIngressRule]."""
    ingress = question.direction == "ingress"
    destination = question.subject if ingress else question.peer.pod
    assert destination is None or isinstance(destination, Pod)
    for index, rule in enumerate(policy["spec"].get(question.direction) or []):
        from_or_to = rule.get("from" if ingress else "to")
        if _covers_peer(from_or_to, policy, question) and traffic.kubernetes_ports(
            rule.get("ports"), question.flow, destination
        ):
            origin = f"spec.{question.direction}[{index}]"
            ref = RuleRef(policy["kind"], _namespace(policy), policy["metadata"]["name"], origin)
            yield Statement(ref, deny=False, coverage=Coverage.FULL)


def _covers_peer(items: list[Manifest] | None, policy: Manifest, question: Question) -> bool:
    """from, to: "if this field is empty or missing, this rule matches all sources"; else at least one item of the list
    must match [NetworkPolicyIngressRule]."""
    return not items or any(_peer(each, policy, question) for each in items)


def _peer(item: Manifest, policy: Manifest, question: Question) -> bool:
    """ipBlock stands alone; its `except` are "CIDRs that should not be included" [IPBlock]. Like every CIDR it does not
    match what is in the cluster [Cilium, layer3: Selecting nodes with CIDR / ipBlock]."""
    if block := item.get("ipBlock"):
        excepted = [ipaddress.ip_network(cidr) for cidr in block.get("except") or []]
        address = question.peer.cidr_address
        return peers.within(address, [ipaddress.ip_network(block["cidr"])]) and not peers.within(address, excepted)
    return selectors.selects_kubernetes_peer(
        item.get("podSelector"), item.get("namespaceSelector"), question.peer.labels, _namespace(policy)
    )
