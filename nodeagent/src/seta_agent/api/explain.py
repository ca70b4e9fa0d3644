"""`seta policy explain`: may this end reach that one, and why. Joins tables, policies and the datapath's lookup.

Called by the backend. Nothing is sent and no map is read: every node's agent has all identities, sets, policies and
pods, so any of them answers for any two ends, with the code that fills the maps.
"""

import collections
import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from seta_agent.api import suggestion
from seta_agent.api.parties import Party, find, seen_from
from seta_agent.api.questions import Question
from seta_agent.api.viewpoint import SetsAt
from seta_agent.api.views import identity_labels
from seta_agent.desired import hostpolicy, policy, verdict, words
from seta_agent.programmer import policyindex
from seta_agent.programmer.endpointpolicy import PolicyEngine
from seta_agent.tables import ReservedIdentity, Tables

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One direction at one end: what its policies say about the other."""

    subject: Party
    peer: int  # identity of the other end, as seen from the subject
    egress: bool
    verdict: verdict.Verdict | None  # None: nobody enforces policy there


class Rules(NamedTuple):
    """What is said about one subject, and the sets that it speaks of."""

    ingress: policy.Rules
    egress: policy.Rules
    sets: policy.Sets


class Explainer:
    def __init__(self, tables: Tables, engine: PolicyEngine, *, host_policies: bool, tunnel_port: int = 8472) -> None:
        self._tables = tables
        self._tunnel_port = tunnel_port
        self._engine = engine
        self._host_policies = host_policies

    def explain(self, source: str, destination: str, question: Question) -> Json:
        """Raises PartyError, QuestionError."""
        one, other = find(self._tables, source), find(self._tables, destination)
        asked = question.packet(other.named_ports, other.name)
        sides = [self._side(one, other, asked, egress=True), self._side(other, one, asked, egress=False)]
        allowed = all(side.verdict is None or side.verdict.allowed for side in sides)
        told: Json = {"verdict": "allowed" if allowed else "denied", "port": question.text}
        told["from"], told["to"] = (self._party(side, way) for side, way in zip((one, other), sides[::-1], strict=True))
        told["egress"], told["ingress"] = (self._told(side) for side in sides)
        return told | ({} if allowed else self._remedy(sides, (one, other), asked))

    def _side(self, subject: Party, peer: Party, asked: verdict.Packet, *, egress: bool) -> Side:
        number = seen_from(self._tables, subject, peer)
        found = self._rules(subject)
        to_own_pod = egress and subject.is_node and subject.node == peer.node  # passes no program of the node's
        if found is None or subject == peer or to_own_pod:
            return Side(subject, number, egress, None)
        exempt = not egress and subject.pod is not None and number == ReservedIdentity.HOST
        if exempt:  # the datapath asks no policy: kubelet's probes live from that
            return Side(subject, number, egress, verdict.Verdict(allowed=True, enforced=True, localhost=True))
        return Side(subject, number, egress, self._decide(found, subject, number, asked, egress=egress))

    def _rules(self, subject: Party) -> Rules | None:
        """Of a pod, or of a node with what its policies cannot shut out; None: no policy of ours is enforced there."""
        index = self._engine.index
        node = self._tables.nodes.get(subject.node)
        sets = SetsAt(index.sets, self._tables.selector_sets, is_api_server=node is not None and node.kube_apiserver)
        if subject.pod is not None:
            return Rules(*policy.select(index.selecting(subject.identity), subject.identity, sets), sets)
        if not subject.is_node or not self._host_policies:
            return None
        found = policy.select_node(index.selecting_node(subject.node), subject.node)
        around = hostpolicy.around(self._tables, subject.node)
        guarded = hostpolicy.with_safeguards(*found, around, self._tunnel_port)
        return Rules(*guarded, collections.ChainMap(dict(around.sets), dict(sets)))

    def _decide(
        self, of_subject: Rules, subject: Party, peer: int, asked: verdict.Packet, *, egress: bool
    ) -> verdict.Verdict:
        rules = of_subject.egress if egress else of_subject.ingress
        sets, named = of_subject.sets, self._engine.named_ports
        mode = self._engine.mode if subject.pod is not None else self._engine.host_mode
        if egress:
            found = policy.egress(rules, mode, sets, named)
            return verdict.decide(rules, found, peer, asked, sets=sets, named=lambda one: named.get(one, {}))
        own = policyindex.own_ports(subject.named_ports)
        found = policy.ingress(rules, mode, sets, own)
        return verdict.decide(rules, found, peer, asked, sets=sets, named=lambda _: own)

    def _party(self, party: Party, seen: Side) -> Json:
        return {
            "name": party.name,
            "address": str(party.address) if party.address else "",
            "node": party.node,
            "identity": seen.peer,
            "labels": identity_labels(self._tables, seen.peer),
        }

    def _told(self, side: Side) -> Json:
        found = side.verdict
        return {
            "of": side.subject.name,
            "verdict": "allowed" if found is None or found.allowed else "denied",
            "enforced": found is not None and found.enforced,
            "reason": _reason(side),
            "rules": [{"policy": one.source, "rule": one.origin} for one in found.rules] if found else [],
            "default_deny": list(found.default_deny) if found else [],
        }

    def _remedy(self, sides: list[Side], ends: tuple[Party, Party], asked: verdict.Packet) -> Json:
        """The rules that would allow it; where one denies it, that this has to be changed."""
        refused = [(side, side.verdict) for side in sides if side.verdict is not None and not side.verdict.allowed]
        denying = [f"{rule.source} ({rule.origin})" for _, found in refused for rule in found.rules]
        if denying:
            return {"allow": [], "advice": f"no rule can allow it, as deny beats allow: change {', '.join(denying)}"}
        suggested = suggestion.Suggestion(self._tables, self._others_open)
        peers = {True: ends[1], False: ends[0]}  # egress -> the other end
        rules = [
            suggested.rule(side.subject, peers[side.egress], side.peer, asked, egress=side.egress)
            for side, _ in refused
        ]
        return {"allow": rules, "advice": ""}

    def _others_open(self, identities: Iterable[int], *, egress: bool) -> bool:
        """Whether one of them is not denied by default: a policy that selects it would close it."""
        index = self._engine.index
        if self._engine.mode == "always":
            return False
        chosen = (policy.select(index.selecting(one), one, index.sets)[egress] for one in identities)
        return any(not any(direction.default_deny for _, direction in rules) for rules in chosen)


def _reason(side: Side) -> str:
    found = side.verdict
    if found is None:
        return "allowed: no policy of this cluster applies there"
    if not found.enforced:
        return "allowed: no policy selects it"
    if found.localhost:
        return "allowed: a node always reaches its own pods"
    if found.default_allow:
        return "allowed: no policy that selects it denies by default"
    named = [one.source if one.origin == one.source else f"{one.source} ({one.origin})" for one in found.rules]
    if named:
        return words.allowed_by(named) if found.allowed else words.denied_by(named)
    return words.denied_by_default(found.default_deny)
