"""The compiler's part about what: toPorts and icmps of one rule, and what is asked beyond them. Pure; used by compiler.

Without either a rule is about all traffic, with either about nothing else. What a rule allows only with a part beyond
layer 4 (unsupported) is kept apart: the rule does not allow it, nor may it pass where nothing else is denied.
"""

from dataclasses import dataclass, field

from seta_crds.policy_rule import EgressDenyRule, IngressDenyRule
from seta_operator.services import compile_icmp, compile_ports, unsupported
from seta_operator.services.problems import Problem
from seta_operator.store.facts import JSON

BOTH = "the ICMPs block may only be present without ToPorts. Define a separate rule to use ToPorts"
Ports = list[JSON] | None  # None = all traffic, [] = none


@dataclass
class Traffic:
    """What one rule covers."""

    plain: Ports = None
    beyond: Ports = field(default_factory=list)  # covered with a part that is not enforced
    asked: list[Problem] = field(default_factory=list)  # those parts
    faults: list[Problem] = field(default_factory=list)  # what cannot be meant


def traffic(rule: IngressDenyRule | EgressDenyRule, path: str) -> Traffic:
    """Ports and types of a rule."""
    found = Traffic()
    if rule.to_ports and rule.icmps:
        found.faults.append(Problem(path, BOTH))
    elif rule.icmps:
        found.plain, found.faults = compile_icmp.types(rule.icmps, f"{path}.icmps")
    elif rule.to_ports:
        _of_ports(found, rule, f"{path}.toPorts")
    whole = unsupported.in_entry(rule, path)
    if whole:
        found.asked += whole
        found.beyond = None if found.plain is None else [*found.plain, *(found.beyond or [])]
        found.plain = []
    return found


def _of_ports(found: Traffic, rule: IngressDenyRule | EgressDenyRule, path: str) -> None:
    plain: list[JSON] = []
    beyond: list[JSON] = []
    for n, item in enumerate(rule.to_ports or []):
        some, faults = compile_ports.ports(item.ports, f"{path}[{n}].ports")
        asked = unsupported.in_ports(item, f"{path}[{n}]")
        kept = beyond if asked else plain
        kept += [port for port in some if port not in kept]
        found.asked += asked
        found.faults += faults
    found.plain, found.beyond = plain, beyond
