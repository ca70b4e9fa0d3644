"""From Kubernetes' own NetworkPolicy (networking.k8s.io/v1) to compiled rules. Pure; used by policy.py.

The API server has judged it already, so problems are rare: an object from before one of its checks. Only what the
compiler reads has a model here; unlike Cilium's policies, unknown fields are left to the API server.
"""

from collections.abc import Sequence
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from seta_crds import labels, selectors
from seta_crds.selectors import Requirement
from seta_operator.services import compile_cidrs
from seta_operator.services.compiled import Compiled
from seta_operator.services.compiler import unreadable
from seta_operator.services.problems import Problem
from seta_operator.services.setspec import LabelSet, SetSpec
from seta_operator.store.facts import JSON

LAST_PORT = 65535


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True)


class _Expression(_Model):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] | None = None


class _Selector(_Model):
    match_labels: dict[str, str] | None = None
    match_expressions: list[_Expression] | None = None


class _Block(_Model):
    cidr: str
    except_: list[str] | None = Field(default=None, alias="except")


class _Peer(_Model):
    pod_selector: _Selector | None = None
    namespace_selector: _Selector | None = None
    ip_block: _Block | None = None


class _Port(_Model):
    protocol: Literal["TCP", "UDP", "SCTP"] | None = None
    port: int | str | None = None
    end_port: int | None = None


class _Rule(_Model):
    from_: list[_Peer] | None = Field(default=None, alias="from")
    to: list[_Peer] | None = None
    ports: list[_Port] | None = None


class _Spec(_Model):
    pod_selector: _Selector | None = None
    ingress: list[_Rule] | None = None
    egress: list[_Rule] | None = None
    policy_types: list[Literal["Ingress", "Egress"]] | None = None


def compile_policy(namespace: str, spec: Any) -> Compiled:
    """Compile the spec of a NetworkPolicy in a namespace. What cannot be read closes the namespace's pods."""
    compiled = Compiled()
    try:
        policy = _Spec.model_validate({} if spec is None else spec)
    except pydantic.ValidationError as error:
        compiled.problems.append(unreadable("spec", error))
        policy = _Spec(policy_types=["Ingress", "Egress"])
    subject = LabelSet(selectors.selector([*_labels(policy.pod_selector), _within(namespace)]))
    result: JSON = {"subject": compiled.refer(subject)}
    for direction, rules in (("ingress", policy.ingress), ("egress", policy.egress)):
        if direction in _directions(policy):
            entries = [
                entry for n, rule in enumerate(rules or []) for entry in _rule(compiled, namespace, direction, n, rule)
            ]
            result[direction] = {"defaultDeny": True, "entries": entries}
    compiled.rules.append(result)
    return compiled


def _directions(policy: _Spec) -> set[str]:
    """What policyTypes says alone, where it is given; else ingress, and egress where it says something about that."""
    if policy.policy_types:
        return {one.lower() for one in policy.policy_types}
    return {"ingress", "egress"} if policy.egress else {"ingress"}


def _rule(compiled: Compiled, namespace: str, direction: str, place: int, rule: _Rule) -> list[JSON]:
    origin = f"spec.{direction}[{place}]"
    name, wanted = ("from", rule.from_) if direction == "ingress" else ("to", rule.to)
    peers, problems = _peers(namespace, wanted, f"{origin}.{name}")
    ports, wrong = _ports(rule.ports, f"{origin}.ports")
    compiled.problems += problems + wrong
    return [] if problems or wrong else [compiled.entry(origin, peers, ports)]


def _peers(namespace: str, wanted: Sequence[_Peer] | None, path: str) -> tuple[list[SetSpec] | None, list[Problem]]:
    """None = any peer: absent and empty mean the same here."""
    found: list[SetSpec] = []
    problems: list[Problem] = []
    for n, peer in enumerate(wanted or []):
        if peer.ip_block is not None:
            blocks, wrong = compile_cidrs.block(peer.ip_block.cidr, peer.ip_block.except_ or [], f"{path}[{n}].ipBlock")
            found += blocks
            problems += wrong
        else:
            found.append(_pods(namespace, peer))
    return (found if wanted else None), problems


def _pods(namespace: str, peer: _Peer) -> SetSpec:
    """Pods by their labels and their namespace's; without a namespaceSelector, pods of the policy's namespace."""
    requirements = _labels(peer.pod_selector)
    if peer.namespace_selector is None:
        return LabelSet(selectors.selector([*requirements, _within(namespace)]))
    requirements += _labels(peer.namespace_selector, f"{labels.NAMESPACE_LABELS}.")
    # Only pods are in a namespace: what is in none lacks every label of one, and must not match by that.
    return LabelSet(selectors.selector([*requirements, Requirement("k8s", labels.NAMESPACE, "Exists")]))


def _within(namespace: str) -> Requirement:
    return Requirement("k8s", labels.NAMESPACE, "In", (namespace,))


def _labels(selector: _Selector | None, prefix: str = "") -> list[Requirement]:
    """Taken as they are: the API server has checked keys and values."""
    if selector is None:
        return []
    found = [Requirement("k8s", prefix + key, "In", (value,)) for key, value in (selector.match_labels or {}).items()]
    return found + [
        Requirement("k8s", prefix + one.key, one.operator, tuple(sorted(set(one.values or []))))
        for one in selector.match_expressions or []
    ]


def _ports(wanted: Sequence[_Port] | None, path: str) -> tuple[list[JSON] | None, list[Problem]]:
    """None = all traffic: absent and empty mean the same here. A protocol is TCP unless it is said."""
    found: list[JSON] = []
    problems: list[Problem] = []
    for n, one in enumerate(wanted or []):
        port: JSON = {"protocol": one.protocol or "TCP"}
        if isinstance(one.port, str):
            port["name"] = one.port.lower()
        elif one.port is not None:
            last = one.end_port or one.port
            if not 0 < one.port <= last <= LAST_PORT:
                problems.append(Problem(f"{path}[{n}]", f"is no range of ports: {one.port} to {last}"))
            port |= {"port": one.port, **({"endPort": last} if last > one.port else {})}
        elif one.end_port is not None:
            problems.append(Problem(f"{path}[{n}]", "has an endPort without a port to start from"))
        if port not in found:
            found.append(port)
    return (found if wanted else None), problems
