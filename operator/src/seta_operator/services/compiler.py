"""From a user's policy to compiled rules. Pure: no tables, no identities; used by policy.py.

Selectors become names of selector sets. What the language has and this compiler does not (yet) is a problem that
names the field; the direction it stands in is then closed rather than guessed (see `_Direction`). Parts:
compile_selectors (who), compile_ports (what), unsupported (which fields are refused).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pydantic

from seta_crds.policy_rule import EgressDenyRule, IngressDenyRule, Rule
from seta_crds.selectors import Selector
from seta_operator.services import compile_ports, compile_selectors, unsupported
from seta_operator.services.compile_selectors import Scope
from seta_operator.services.problems import Problem
from seta_operator.store.facts import JSON

Entry = IngressDenyRule | EgressDenyRule  # and their allowing subclasses


@dataclass
class Compiled:
    """One policy, compiled."""

    rules: list[JSON] = field(default_factory=list)
    selectors: dict[str, Selector] = field(default_factory=dict)  # set -> selector
    problems: list[Problem] = field(default_factory=list)

    def refer(self, selector: Selector) -> str:
        """Name of the selector's set."""
        self.selectors[selector.set_name] = selector
        return selector.set_name


def compile_policy(namespace: str, spec: Any, specs: Any) -> Compiled:
    """Compile the rules under spec and specs of a policy in a namespace ("": clusterwide)."""
    compiled = Compiled()
    rules = [("spec", spec)] if spec is not None else []
    rules += [(f"specs[{n}]", one) for n, one in enumerate(specs or [])]
    for path, raw in rules:
        try:
            rule = Rule.model_validate(raw)
        except pydantic.ValidationError as error:
            # An object from before the schema was what it is: closed as far as it can be read.
            compiled.problems.append(_unreadable(path, error))
            rule = _salvage(raw)
        _rule(compiled, Scope(namespace), path, rule)
    return compiled


def _rule(compiled: Compiled, scope: Scope, path: str, rule: Rule) -> None:
    general = unsupported.in_rule(rule, path)
    compiled.problems += general
    if rule.endpoint_selector is None:
        if rule.node_selector is None:
            compiled.problems.append(Problem(path, "must have an endpointSelector"))
        return  # selects no endpoint: there is nothing to close
    subject, problems = compile_selectors.subject(scope, rule.endpoint_selector, f"{path}.endpointSelector")
    compiled.problems += problems
    closed = bool(general or problems)
    flags = rule.enable_default_deny
    result: JSON = {"subject": compiled.refer(subject)}
    for direction, allows, denies, explicit in (
        ("ingress", rule.ingress, rule.ingress_deny, flags.ingress if flags else None),
        ("egress", rule.egress, rule.egress_deny, flags.egress if flags else None),
    ):
        if allows or denies or explicit:
            one = _Direction(compiled, scope, f"{path}.{direction}", closed=closed)
            result[direction] = one.compile(allows or [], denies or [], explicit=explicit)
    if "ingress" not in result and "egress" not in result:
        compiled.problems.append(Problem(path, "must have at least one of ingress, ingressDeny, egress, egressDeny"))
    compiled.rules.append(result)


class _Direction:
    """Ingress or egress of one rule.

    Fails closed: an allowing entry with a problem allows nothing, and the direction gets default deny even where
    enableDefaultDeny says no; a denying entry with a problem denies everything, for what it would have spared is
    not known and other policies may allow it.
    """

    def __init__(self, compiled: Compiled, scope: Scope, path: str, *, closed: bool) -> None:
        self._compiled, self._scope, self._path, self._closed = compiled, scope, path, closed

    def compile(self, allows: Sequence[Entry], denies: Sequence[Entry], *, explicit: bool | None) -> JSON:
        entries: list[JSON] = []
        problem_seen = self._closed
        for n, allow in enumerate(allows):
            origin = f"{self._path}[{n}]"
            entry, problems = self._entry(origin, allow)
            self._compiled.problems += problems
            problem_seen = problem_seen or bool(problems)
            if entry is not None and not problems and not self._closed:
                entries.append({"origin": origin, "action": "Allow", **entry})
        for n in range(len(denies)):
            origin = f"{self._path}Deny[{n}]"
            self._compiled.problems.append(Problem(origin, "is not supported yet", closes=f"all {self._path_end()}"))
            entries.append({"origin": origin, "action": "Deny"})
        default_deny = explicit is not False or problem_seen
        return {"defaultDeny": default_deny, "entries": entries}

    def _entry(self, origin: str, rule: Entry) -> tuple[JSON | None, list[Problem]]:
        """Peers and ports of an entry; None where it allows nothing (neither peers nor ports are given)."""
        problems = unsupported.in_entry(rule, origin)
        ingress = isinstance(rule, IngressDenyRule)
        selectors = rule.from_endpoints if isinstance(rule, IngressDenyRule) else rule.to_endpoints
        peers, peer_problems = compile_selectors.peers(
            self._scope, selectors, f"{origin}.{'fromEndpoints' if ingress else 'toEndpoints'}"
        )
        ports, port_problems = compile_ports.ports(rule.to_ports, f"{origin}.toPorts")
        problems += peer_problems + port_problems
        if problems or (selectors is None and not rule.to_ports):
            return None, problems
        entry: JSON = {}
        if peers is not None:
            entry["peers"] = sorted({self._compiled.refer(peer) for peer in peers})
        if ports is not None:
            entry["ports"] = ports
        return entry, problems

    def _path_end(self) -> str:
        return self._path.rpartition(".")[2]


def _unreadable(path: str, error: pydantic.ValidationError) -> Problem:
    first = error.errors()[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    return Problem(f"{path}{where}", f"cannot be read ({first['msg'].lower()})")


def _salvage(raw: Any) -> Rule:
    """Of an unreadable rule: whom it selects and in which directions it speaks, all closed."""
    raw = raw if isinstance(raw, dict) else {}
    try:
        selector = Rule.model_validate({"endpointSelector": raw.get("endpointSelector") or {}})
    except pydantic.ValidationError:
        selector = Rule.model_validate({"endpointSelector": {}})
    ingress: list[JSON] | None = [{}] if raw.get("ingress") or raw.get("ingressDeny") else None
    egress: list[JSON] | None = [{}] if raw.get("egress") or raw.get("egressDeny") else None
    closed = Rule.model_validate({"ingress": ingress, "egress": egress})
    return selector.model_copy(update={"ingress": closed.ingress, "egress": closed.egress})
