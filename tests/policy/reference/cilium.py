"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, as their documents describe them.

Each of `spec` and `specs` is a rule of its own with its own subject; `labels`, `description` and `log` change no
verdict.
"""

import typing

from tests.policy.reference import peers, selectors, traffic
from tests.policy.reference.cluster import Node, Pod
from tests.policy.reference.flows import Manifest, RuleRef
from tests.policy.reference.statements import Answer, Question, Statement
from tests.policy.reference.traffic import Coverage

KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")


def answers(policy: Manifest, question: Question) -> typing.Iterator[Answer]:
    for where, rule in _rules(policy):
        if _selects(policy, rule, question):
            yield Answer(
                policy=_ref(policy, where),
                default_deny=default_deny(rule, question.direction),
                statements=tuple(_statements(policy, where, rule, question)),
            )


def _rules(policy: Manifest) -> list[tuple[str, Manifest]]:
    """`spec` is one rule, `specs` a list of rules; both may be there."""
    single = [("spec", policy["spec"])] if policy.get("spec") else []
    return single + [(f"specs[{index}]", rule) for index, rule in enumerate(policy.get("specs") or [])]


def _scope(policy: Manifest) -> str:
    """The namespace that a CiliumNetworkPolicy belongs to; "" = clusterwide."""
    return (
        "" if policy["kind"] == "CiliumClusterwideNetworkPolicy" else policy["metadata"].get("namespace") or "default"
    )


def _ref(policy: Manifest, origin: str) -> RuleRef:
    return RuleRef(policy["kind"], _scope(policy), policy["metadata"]["name"], origin)


def _selects(policy: Manifest, rule: Manifest, question: Question) -> bool:
    """endpointSelector selects pods, nodeSelector (clusterwide policies only) nodes, by the labels of the Node object:
    such a policy applies to "only the host namespace, including host-networking pods" [Cilium, intro, host]."""
    if isinstance(question.subject, Pod) and rule.get("endpointSelector") is not None:
        return selectors.selects_subject(rule["endpointSelector"], question.subject.labels, _scope(policy))
    if isinstance(question.subject, Node) and rule.get("nodeSelector") is not None:
        return selectors.matches_plain(rule["nodeSelector"], question.subject.labels)
    return False


def default_deny(rule: Manifest, direction: str) -> bool:
    """A rule puts its subject into default deny in each direction for which it has a section that is not empty, allow
    or deny; enableDefaultDeny says otherwise, in both senses, per direction. One policy that asks for it is enough
    [Cilium, intro: Endpoint default policy; api: Rule.enableDefaultDeny]."""
    asked = (rule.get("enableDefaultDeny") or {}).get(direction)
    return bool(rule.get(direction) or rule.get(f"{direction}Deny")) if asked is None else bool(asked)


def _statements(policy: Manifest, where: str, rule: Manifest, question: Question) -> typing.Iterator[Statement]:
    for section, deny in ((question.direction, False), (f"{question.direction}Deny", True)):
        for index, item in enumerate(rule.get(section) or []):
            coverage = _coverage(policy, item, question, deny=deny)
            if coverage is not Coverage.NONE:
                yield Statement(_ref(policy, f"{where}.{section}[{index}]"), deny, coverage)


def _coverage(policy: Manifest, item: Manifest, question: Question, *, deny: bool) -> Coverage:
    """An empty rule, {}, names neither peers nor traffic: it selects nothing, and is how one writes default deny
    "without whitelisting other peers at the same time" [Cilium, layer3: Ingress/Egress Default Deny]."""
    if not peers.named(item) and not item.get("toPorts") and not item.get("icmps"):
        return Coverage.NONE
    if not peers.covers(item, _scope(policy), question, deny=deny):
        return Coverage.NONE
    return traffic.covers(item, question.flow, _destination(question))


def _destination(question: Question) -> Pod | None:
    if question.direction == "egress":
        return question.peer.pod
    return question.subject if isinstance(question.subject, Pod) else None
