"""From a user's Cilium policy to compiled rules. Pure: no tables, no identities; used by policy.py.

Whoever a policy names becomes the name of a selector set. Parts: compile_peers (whom; with compile_selectors and
compile_cidrs), compile_traffic (what; with compile_ports and compile_icmp), unsupported (what is not enforced),
compile_networkpolicy (Kubernetes' own policies). What cannot be meant is a problem that names the field, and closes the
direction it stands in rather than being guessed (`_Direction`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

from seta_crds.policy_peers import LabelSelector
from seta_crds.policy_rule import EgressDenyRule, IngressDenyRule, Rule
from seta_operator.services import compile_peers, compile_selectors, compile_traffic
from seta_operator.services.compile_selectors import Scope
from seta_operator.services.compiled import Compiled
from seta_operator.services.problems import Problem
from seta_operator.services.setspec import LabelSet
from seta_operator.store.facts import JSON

Entry = IngressDenyRule | EgressDenyRule  # and their allowing subclasses
NOT_HERE = "rule cannot have NodeSelector: use a CiliumClusterwideNetworkPolicy"
SWITCHED_OFF = "needs host policies, which are switched off: set the Helm value hostFirewall.enabled"


def compile_policy(namespace: str, spec: Any, specs: Any, *, host_firewall: bool = False) -> Compiled:
    """Compile the rules under spec and specs of a policy in a namespace ("": clusterwide).

    `host_firewall`: whether rules with a nodeSelector are enforced.
    """
    compiled = Compiled()
    rules = [("spec", spec)] if spec is not None else []
    rules += [(f"specs[{n}]", one) for n, one in enumerate(specs if isinstance(specs, list) else [])]
    for path, raw in rules:
        rule: Rule | None
        try:
            rule = Rule.model_validate(raw)
        except pydantic.ValidationError as error:
            # An object from before the schema was what it is: closed as far as it can be read.
            compiled.problems.append(unreadable(path, error))
            rule = _salvage(raw)
        if rule is not None:
            _rule(compiled, Scope(namespace), path, rule, host_firewall=host_firewall)
    return compiled


def _rule(compiled: Compiled, scope: Scope, path: str, rule: Rule, *, host_firewall: bool) -> None:
    if rule.endpoint_selector is not None and rule.node_selector is not None:
        compiled.problems.append(Problem(path, "must have exactly one of endpointSelector and nodeSelector"))
    if rule.endpoint_selector is not None:
        _endpoint_rule(compiled, scope, path, rule, rule.endpoint_selector)
    elif rule.node_selector is None:
        # It selects nothing: there is nothing to close.
        compiled.problems.append(Problem(path, "must have an endpointSelector"))
    elif scope.namespace:
        compiled.problems.append(Problem(path, NOT_HERE))
    elif not host_firewall:
        compiled.problems.append(Problem(f"{path}.nodeSelector", SWITCHED_OFF))
    else:
        _host_rule(compiled, scope, path, rule, rule.node_selector)


def _endpoint_rule(compiled: Compiled, scope: Scope, path: str, rule: Rule, selector: LabelSelector) -> None:
    subject, problems = compile_selectors.subject(scope, selector, f"{path}.endpointSelector")
    compiled.problems += problems
    closed = bool(problems) or rule.node_selector is not None
    result = {"subject": compiled.refer(LabelSet(subject)), **_said(compiled, scope, path, rule, closed=closed)}
    compiled.rules.append(result)


def _host_rule(compiled: Compiled, scope: Scope, path: str, rule: Rule, selector: LabelSelector) -> None:
    """A selector that cannot be meant selects no node: closing every node for a typing error would end the cluster."""
    chosen, problems = compile_selectors.plain(selector, f"{path}.nodeSelector")
    compiled.problems += problems
    if not problems:
        compiled.nodes[len(compiled.rules)] = chosen
        compiled.rules.append({"nodes": [], **_said(compiled, scope, path, rule, closed=False)})


def _said(compiled: Compiled, scope: Scope, path: str, rule: Rule, *, closed: bool) -> JSON:
    """What a rule says about its subject: ingress, egress, log."""
    result: JSON = {}
    flags = rule.enable_default_deny
    for direction, allows, denies, explicit in (
        ("ingress", rule.ingress, rule.ingress_deny, flags.ingress if flags else None),
        ("egress", rule.egress, rule.egress_deny, flags.egress if flags else None),
    ):
        if allows or denies or explicit:
            one = _Direction(compiled, scope, f"{path}.{direction}", explicit, closed=closed)
            result[direction] = one.compile(allows or [], denies or [])
    if not result:
        compiled.problems.append(Problem(path, "must have at least one of ingress, ingressDeny, egress, egressDeny"))
    if rule.log is not None and rule.log.value:
        result["log"] = rule.log.value
    return result


@dataclass
class _Direction:
    """Ingress or egress of one rule.

    Fails closed: an allowing entry with a fault allows nothing, and the direction gets default deny even where
    enableDefaultDeny says no; a denying entry with a fault denies every peer, or all traffic, whichever it is about,
    for what it would have spared is not known and other policies may allow it.
    """

    compiled: Compiled
    scope: Scope
    path: str
    explicit: bool | None  # what enableDefaultDeny says
    closed: bool  # whether the rule has a fault outside of its entries

    def compile(self, allows: Sequence[Entry], denies: Sequence[Entry]) -> JSON:
        """The direction of the compiled rule."""
        entries: list[JSON] = []
        for n, one in enumerate(allows):
            entries += self._allow(f"{self.path}[{n}]", one)
        for n, one in enumerate(denies):
            entries += self._deny(f"{self.path}Deny[{n}]", one)
        default_deny = self.explicit is not False or self.closed
        return {"defaultDeny": default_deny, "entries": entries}

    def _allow(self, origin: str, rule: Entry) -> list[JSON]:
        """What it allows plainly; and where nothing else would deny it, what it allows with more than is enforced."""
        peers, peer_problems = compile_peers.peers(self.scope, rule, origin)
        what = compile_traffic.traffic(rule, origin)
        problems = peer_problems + what.asked + what.faults
        self.compiled.problems += problems
        if any(not problem.beyond for problem in problems):
            self.explicit = None if self.explicit is False else self.explicit
            return []
        if self.closed or _is_empty(rule):
            return []
        entries = [] if what.plain == [] else [self.compiled.entry(origin, peers, what.plain)]
        if self.explicit is False and what.beyond != []:
            entries.append(self.compiled.entry(origin, peers, what.beyond, deny=True) | {"yields": True})
        return entries

    def _deny(self, origin: str, rule: Entry) -> list[JSON]:
        peers, peer_problems = compile_peers.peers(self.scope, rule, origin)
        what = compile_traffic.traffic(rule, origin)
        way = self.path.rpartition(".")[2]
        if any(not problem.beyond for problem in peer_problems):
            peers = None
        ports = None if what.faults else what.plain
        widened = f"all {way}" if peers is None and ports is None else f"more {way} than it names"
        self.compiled.problems += [
            Problem(one.path, one.wrong, closes=widened, beyond=one.beyond) for one in peer_problems + what.faults
        ]
        return [] if _is_empty(rule) else [self.compiled.entry(origin, peers, ports, deny=True)]


def _is_empty(rule: Entry) -> bool:
    """Whether it names neither peers nor traffic: it is then about nothing, and only its presence counts."""
    return not compile_peers.given(rule) and not rule.to_ports and not rule.icmps


def unreadable(path: str, error: pydantic.ValidationError) -> Problem:
    """The first thing that does not fit the model."""
    first = error.errors(include_url=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    return Problem(f"{path}{where}", f"cannot be read ({first['msg'].lower()})")


def _salvage(raw: Any) -> Rule | None:
    """Of an unreadable rule: whom it selects and in which directions it speaks, all closed. None: no endpoints."""
    raw = raw if isinstance(raw, dict) else {}
    if raw.get("endpointSelector") is None and raw.get("nodeSelector") is not None:
        return None
    try:
        selector = Rule.model_validate({"endpointSelector": raw.get("endpointSelector") or {}})
    except pydantic.ValidationError:
        selector = Rule.model_validate({"endpointSelector": {}})
    ingress: list[JSON] | None = [{}] if raw.get("ingress") or raw.get("ingressDeny") else None
    egress: list[JSON] | None = [{}] if raw.get("egress") or raw.get("egressDeny") else None
    closed = Rule.model_validate({"ingress": ingress, "egress": egress})
    return selector.model_copy(update={"ingress": closed.ingress, "egress": closed.egress})
