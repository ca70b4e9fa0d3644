"""What compiling a policy gives: rules, the sets they refer to, and problems.

Made by compiler and compile_networkpolicy, read by policy.py.
"""

from dataclasses import dataclass, field

from seta_crds.selectors import Selector
from seta_operator.services.problems import Problem
from seta_operator.services.setspec import SetSpec
from seta_operator.store.facts import JSON


@dataclass
class Compiled:
    """One policy, compiled."""

    rules: list[JSON] = field(default_factory=list)  # as in the CompiledPolicy; `nodes` of host rules still empty
    nodes: dict[int, Selector] = field(default_factory=dict)  # place of a host rule in `rules` -> nodes it is about
    specs: dict[str, SetSpec] = field(default_factory=dict)  # set -> what it is of
    problems: list[Problem] = field(default_factory=list)

    def refer(self, spec: SetSpec) -> str:
        """Name of the spec's set."""
        self.specs[spec.set_name] = spec
        return spec.set_name

    def entry(self, origin: str, peers: list[SetSpec] | None, ports: list[JSON] | None, *, deny: bool = False) -> JSON:
        """One entry: peers None = any, [] = nobody; ports None = all traffic."""
        result: JSON = {"origin": origin, "action": "Deny" if deny else "Allow"}
        if peers is not None:
            result["peers"] = sorted({self.refer(peer) for peer in peers})
        if ports is not None:
            result["ports"] = ports
        return result
