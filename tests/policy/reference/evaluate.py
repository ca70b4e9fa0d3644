"""The verdict on a flow: the one function that callers of this package use, and the order in which things decide.

    verdict = evaluate.evaluate(objects, policies, flow, settings)

Written from the documents, to be read beside them: Cilium's pages intro, layer3, layer4, deny, host and kubernetes of
its chapter on network policy (https://docs.cilium.io/en/latest/security/policy/) with the reference of its API, and the
API reference of Kubernetes' NetworkPolicy. It shares no code with what it judges, and clarity comes before speed: every
question is asked of every policy anew. Policies must be valid: nothing here checks them.
"""

import itertools
import typing

from tests.policy.reference import cilium, hosts, kubernetes, parties
from tests.policy.reference.cluster import Cluster, Node, Pod
from tests.policy.reference.flows import Decision, Flow, Manifest, Reason, RuleRef, Settings, Verdict
from tests.policy.reference.parties import Party
from tests.policy.reference.statements import Answer, Direction, Question
from tests.policy.reference.traffic import Coverage


def evaluate(
    objects: typing.Iterable[Manifest], policies: list[Manifest], flow: Flow, settings: Settings | None = None
) -> Verdict:
    """objects: Pods, Namespaces, Nodes, Services, EndpointSlices, CiliumCIDRGroups, in any order."""
    settings = settings or Settings()
    cluster = Cluster.read(objects, settings)
    source, destination = parties.find(cluster, flow.source), parties.find(cluster, flow.destination)
    for exempt in (_same_endpoint, _local_host):
        if reason := exempt(source, destination):
            return Verdict(egress=Decision(allowed=True, reason=reason), ingress=Decision(allowed=True, reason=reason))

    def decide(direction: Direction, subject: Party, peer: Party) -> Decision:
        seen = parties.see(cluster, settings, subject, peer)
        return _decide(Question(cluster, settings, direction, subject, seen, flow), policies)

    return Verdict(egress=decide("egress", source, destination), ingress=decide("ingress", destination, source))


def _same_endpoint(source: Party, destination: Party) -> Reason | None:
    """What a pod sends to itself stays on its loopback device, where no policy is enforced; so does a node's."""
    return Reason.SAME_ENDPOINT if source == destination else None


def _local_host(source: Party, destination: Party) -> Reason | None:
    """Probes: "Kubernetes will automatically allow all communication from the local host of all local endpoints"
    [Cilium, layer3: Access to/from local host]; a NetworkPolicy does not apply where "the traffic source is the pod's
    local node" [Kubernetes, NetworkPolicySpec.ingress]."""
    local = isinstance(source, Node) and isinstance(destination, Pod) and destination.node == source.name
    return Reason.LOCAL_HOST if local else None


def _decide(question: Question, policies: list[Manifest]) -> Decision:
    if not isinstance(question.subject, Pod | Node):
        return Decision(allowed=True, reason=Reason.NOT_AN_ENDPOINT)
    if question.settings.policy_enforcement_mode == "never":
        # "Policy enforcement is disabled on all endpoints, even if rules do select specific endpoints" [Cilium, intro].
        return Decision(allowed=True, reason=Reason.MODE_NEVER)
    answers = list(_answers(question, policies))
    closing = tuple(sorted(each.policy for each in answers if each.default_deny))

    # "Deny policies take precedence over allow policies, regardless of whether they are a Cilium Network Policy, a
    # Clusterwide Cilium Network Policy or even a Kubernetes Network Policy" [Cilium, deny].
    if denying := _rules(answers, deny=True, coverage=Coverage.FULL):
        return Decision(allowed=False, reason=Reason.DENIED, rules=denying, default_deny=closing)

    # "If there is an intersection between two or more rules, then traffic matching the union of those rules will be
    # allowed" [Cilium, intro: Rule Basics].
    allowing = _rules(answers, deny=False, coverage=Coverage.FULL)
    if closing and (essential := hosts.essential(question)):
        allowing = (*allowing, essential)
    if allowing:
        return Decision(allowed=True, reason=Reason.ALLOWED, rules=allowing, default_deny=closing)

    # A rule with a part beyond layer 4 restricts what it covers even where default deny is off: "Adding a layer-7 rule
    # that does not include a layer-7 allow-all will cause drops" [Cilium, intro]. Such parts are not enforced, so that
    # all the rule covers stays denied unless another rule allows it plainly.
    if restricting := _rules(answers, deny=False, coverage=Coverage.RESTRICTED):
        return Decision(allowed=False, reason=Reason.NEEDS_PROXY, rules=restricting, default_deny=closing)

    if closing or _always(question):
        return Decision(allowed=False, reason=Reason.DEFAULT_DENY, default_deny=closing)
    return Decision(allowed=True, reason=Reason.NOT_SELECTED)


def _answers(question: Question, policies: list[Manifest]) -> typing.Iterator[Answer]:
    for policy in policies:
        if policy["kind"] in cilium.KINDS:
            yield from cilium.answers(policy, question)
        elif policy["kind"] in kubernetes.KINDS:
            yield from kubernetes.answers(policy, question)
        else:
            raise ValueError(f"{policy['kind']} is no policy: put it among the objects")


def _rules(answers: list[Answer], *, deny: bool, coverage: Coverage) -> tuple[RuleRef, ...]:
    statements = itertools.chain.from_iterable(each.statements for each in answers)
    return tuple(sorted(each.rule for each in statements if each.deny is deny and each.coverage is coverage))


def _always(question: Question) -> bool:
    """Mode always: "policy enforcement is enabled on all endpoints even if no rules select specific endpoints" [Cilium,
    intro]. A node is closed by host policies only (Seta's own: the setting is about endpoints, and would cut off every
    node of a cluster that has no host policy)."""
    return question.settings.policy_enforcement_mode == "always" and isinstance(question.subject, Pod)
