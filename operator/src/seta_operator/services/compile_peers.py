"""The compiler's part about whom: the one list of peers that a rule may have. Pure; used by compiler.

Absent, it is any peer; empty, it is nobody. Two lists in one rule are refused, as what they mean together is not
agreed on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seta_crds.policy_peers import FQDN, Entity, Groups, LabelSelector, ServiceReference
from seta_crds.policy_rule import EgressDenyRule, EgressRule, IngressDenyRule, IngressRule
from seta_operator.services import compile_cidrs, compile_selectors, unsupported
from seta_operator.services.compile_selectors import Scope
from seta_operator.services.problems import Problem
from seta_operator.services.setspec import EntitySet, LabelSet, NodeSet, ServiceSet, SetSpec

Sets = list[SetSpec] | None  # None = any peer, [] = nobody
Made = tuple[Sets, list[Problem]]
UNSUPPORTED_ENTITIES = ("cluster-mesh",)


def given(rule: IngressDenyRule | EgressDenyRule) -> dict[str, Any]:
    """The lists of peers that a rule has, by the field's name as users write it."""
    found = {}
    for name, info in type(rule).model_fields.items():
        alias = info.alias or name
        value = getattr(rule, name)
        if value is not None and _kind(alias) in _MAKERS:
            found[alias] = value
    return found


def peers(scope: Scope, rule: IngressDenyRule | EgressDenyRule, path: str) -> Made:
    """Sets of a rule's peers."""
    lists = given(rule)
    if len(lists) > 1:
        one, other, *_ = (alias[0].upper() + alias[1:] for alias in lists)
        return [], [Problem(path, f"combining {one} and {other} is not supported yet: write one rule for each")]
    for alias, items in lists.items():
        sets, problems = _MAKERS[_kind(alias)](scope, items, f"{path}.{alias}")
        nobody = isinstance(rule, IngressRule | EgressRule) and any(problem.beyond for problem in problems)
        return ([] if nobody else sets), problems
    return None, []


def _kind(alias: str) -> str:
    return alias.removeprefix("from").removeprefix("to")


def _endpoints(scope: Scope, wanted: Sequence[LabelSelector], path: str) -> Made:
    selectors, problems = compile_selectors.peers(scope, wanted, path)
    return [LabelSet(selector) for selector in selectors], problems


def _entities(_scope: Scope, wanted: Sequence[Entity], path: str) -> Made:
    problems = [
        Problem(f"{path}[{n}]", f"unsupported entity: {name}")
        for n, name in enumerate(wanted)
        if name in UNSUPPORTED_ENTITIES
    ]
    if "all" in wanted:
        return None, problems
    return [EntitySet(name) for name in wanted if name not in ("none", *UNSUPPORTED_ENTITIES)], problems


def _nodes(_scope: Scope, wanted: Sequence[LabelSelector], path: str) -> Made:
    found: list[SetSpec] = []
    problems: list[Problem] = []
    for n, one in enumerate(wanted):
        selector, wrong = compile_selectors.plain(one, f"{path}[{n}]")
        found.append(NodeSet(selector))
        problems += wrong
    return found, problems


def _services(_scope: Scope, wanted: Sequence[ServiceReference], path: str) -> Made:
    found: list[SetSpec] = []
    problems: list[Problem] = []
    for n, one in enumerate(wanted):
        sets, wrong = _service(one, f"{path}[{n}]")
        found += sets
        problems += wrong
    return found, problems


def _service(wanted: ServiceReference, path: str) -> tuple[list[SetSpec], list[Problem]]:
    named, selected = wanted.k8s_service, wanted.k8s_service_selector
    if named is not None and selected is not None:
        return [], [Problem(path, "has k8sService and k8sServiceSelector: write one item for each")]
    if selected is not None:
        where = f"{path}.k8sServiceSelector.selector"
        selector, problems = compile_selectors.plain(selected.selector, where)
        return [ServiceSet(namespace=selected.namespace or "", selector=selector)], problems
    if named is None:
        return [], [Problem(path, "names no service: write k8sService or k8sServiceSelector")]
    if not named.service_name:
        return [], [Problem(f"{path}.k8sService", "names no service: write its serviceName")]
    return [ServiceSet(namespace=named.namespace or "", name=named.service_name)], []


def _groups(_scope: Scope, wanted: Sequence[Groups], path: str) -> Made:
    """Nobody asks a cloud provider who they are: to deny, they are all that is outside."""
    return ([EntitySet("world")], [unsupported.problem(path)]) if wanted else ([], [])


def _names(_scope: Scope, wanted: Sequence[FQDN], path: str) -> Made:
    return [], ([unsupported.problem(path)] if wanted else [])


_MAKERS: Mapping[str, Callable[[Scope, Any, str], Made]] = {  # field without from, to -> who makes its sets
    "Endpoints": _endpoints,
    "CIDR": lambda _scope, wanted, path: compile_cidrs.plain(wanted, path),
    "CIDRSet": lambda _scope, wanted, path: compile_cidrs.rules(wanted, path),
    "Entities": _entities,
    "Services": _services,
    "Groups": _groups,
    "Nodes": _nodes,
    "FQDNs": _names,
}
