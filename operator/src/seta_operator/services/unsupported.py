"""Which fields of the policy language are compiled. All others, where a user sets them, are problems.

The one list to shorten when a field becomes supported. Used by compiler and compile_ports.
"""

from collections.abc import Mapping

from pydantic import BaseModel

from seta_crds.policy_ports import DenyPortRule, PortRule
from seta_crds.policy_rule import EgressDenyRule, EgressRule, IngressDenyRule, IngressRule, Rule
from seta_operator.services.problems import Problem

# model -> fields that are compiled, or mean nothing on the wire (labels, description), or must be empty anyway
SUPPORTED: Mapping[type[BaseModel], frozenset[str]] = {
    Rule: frozenset(
        {
            "endpoint_selector",
            "ingress",
            "ingress_deny",  # judged entry by entry
            "egress",
            "egress_deny",
            "labels",
            "description",
            "enable_default_deny",
        }
    ),
    IngressDenyRule: frozenset({"from_endpoints", "from_requires", "to_ports"}),
    EgressDenyRule: frozenset({"to_endpoints", "to_requires", "to_ports"}),
    DenyPortRule: frozenset({"ports"}),
}
# allowing model -> the denying one whose list of fields it shares
_SAME: Mapping[type[BaseModel], type[BaseModel]] = {
    IngressRule: IngressDenyRule,
    EgressRule: EgressDenyRule,
    PortRule: DenyPortRule,
}


def in_rule(rule: Rule, path: str) -> list[Problem]:
    """Fields of the rule itself."""
    return _in(rule, path)


def in_entry(entry: IngressDenyRule | EgressDenyRule, path: str) -> list[Problem]:
    """Fields of one entry of ingress or egress, and of its toPorts."""
    found = _in(entry, path)
    for n, ports in enumerate(entry.to_ports or []):
        found += _in(ports, f"{path}.toPorts[{n}]")
    return found


def _in(model: BaseModel, path: str) -> list[Problem]:
    kind = type(model)
    supported = SUPPORTED[_SAME.get(kind, kind)]
    return [
        Problem(f"{path}.{info.alias or name}", "is not supported yet")
        for name, info in kind.model_fields.items()
        if name not in supported and getattr(model, name) is not None
    ]
