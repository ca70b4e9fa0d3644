"""What an allowing rule can ask for beyond layer 4, which is not enforced: where a user sets it, it is a problem.

Traffic that a rule allows only with such a part is not allowed by it. Used by compile_traffic and compile_peers.
"""

from collections.abc import Mapping
from typing import Any

from seta_crds.policy_ports import DenyPortRule, PortRule
from seta_crds.policy_rule import EgressDenyRule, EgressRule, IngressDenyRule, IngressRule
from seta_operator.services.problems import Problem

_OF_PORTS: Mapping[str, str] = {  # field -> as users write it
    "terminating_tls": "terminatingTLS",
    "originating_tls": "originatingTLS",
    "server_names": "serverNames",
    "listener": "listener",
    "rules": "rules",
}


def problem(path: str) -> Problem:
    """The part is not enforced."""
    return Problem(path, "is not supported yet", beyond=True)


def in_ports(rule: DenyPortRule, path: str) -> list[Problem]:
    """Parts of one item of toPorts. Empty ones ask for nothing."""
    if not isinstance(rule, PortRule):
        return []
    return [problem(f"{path}.{alias}") for name, alias in _OF_PORTS.items() if _asks(getattr(rule, name))]


def in_entry(rule: IngressDenyRule | EgressDenyRule, path: str) -> list[Problem]:
    """Parts of one rule of ingress or egress as a whole."""
    if not isinstance(rule, IngressRule | EgressRule) or rule.authentication is None:
        return []
    return [] if rule.authentication.mode == "disabled" else [problem(f"{path}.authentication")]


def _asks(value: Any) -> bool:
    """Whether a part is there: `rules: {}` and `serverNames: []` are not."""
    if isinstance(value, list) or value is None:
        return bool(value)
    return any(getattr(value, name) is not None for name in type(value).model_fields)
