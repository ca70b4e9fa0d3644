"""CiliumL2AnnouncementPolicies as rules, and the conditions that tell what is wrong with them. Pure; used by l2.py.

What cannot be understood announces nothing: a bad selector selects nothing, a bad expression matches no device. The
rest of the policy, and all others, work.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from seta_crds import interfaces
from seta_crds.conditions import condition, merged, told
from seta_crds.l2policy import L2PolicySpec
from seta_crds.policy_peers import LabelSelector
from seta_crds.selectors import Selector
from seta_operator.services import compile_selectors
from seta_operator.store.facts import JSON

BAD_NODES, BAD_SERVICES, BAD_INTERFACES = (
    f"io.cilium/bad-{what}" for what in ("node-selector", "service-selector", "interface-regex")
)
IDLE = "seta.dev/announces-nothing"
TYPES = (BAD_NODES, BAD_SERVICES, BAD_INTERFACES, IDLE)
EVERYTHING = Selector(())


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy, as far as it is understood."""

    nodes: Selector | None = EVERYTHING  # None: no node
    services: Selector | None = EVERYTHING  # None: no service
    types: frozenset[str] = frozenset()  # of frontends whose addresses it announces: LoadBalancer, ExternalIPs
    interfaces: tuple[str, ...] | None = ()  # sorted; empty: all known devices; None: no device


def of(spec: JSON | None) -> tuple[Rule, dict[str, str]]:
    """The rule, and condition type -> what is wrong and what to change."""
    problems: dict[str, str] = {}
    try:
        wanted = L2PolicySpec.model_validate(spec or {})
    except ValidationError as error:  # the schema lets none through; this is the second line
        return Rule(nodes=None), {BAD_NODES: f"spec is not understood: {error.errors()[0]['msg']}"}
    flags = {"LoadBalancer": wanted.load_balancer_ips, "ExternalIPs": wanted.external_ips}
    return Rule(
        nodes=_selector(wanted.node_selector, "nodeSelector", BAD_NODES, problems),
        services=_selector(wanted.service_selector, "serviceSelector", BAD_SERVICES, problems),
        types=frozenset(kind for kind, on in flags.items() if on),
        interfaces=_interfaces(wanted.interfaces or [], problems),
    ), problems


def idle(rule: Rule, *, selects: bool, reaches: bool, announces: bool) -> str:
    """Why a rule that is understood announces nothing; empty where it does.

    `selects`: there is a node that it selects. `reaches`: one that lives, with a matching device that is up.
    `announces`: there is a Service with an address for it.
    """
    if rule.nodes is None or rule.services is None or rule.interfaces is None:
        return ""  # that is told already
    if not rule.types:
        return "announces nothing: set spec.loadBalancerIPs or spec.externalIPs"
    if not selects:
        return "spec.nodeSelector selects no node: correct it, or label nodes so"
    if not announces:
        kinds = {"LoadBalancer": "a LoadBalancer address", "ExternalIPs": "an external IP"}
        wanted = " or ".join(kinds[one] for one in sorted(rule.types))
        return f"no Service that spec.serviceSelector selects has {wanted}"
    if not reaches:
        return (
            "no node that it selects has an interface that is up and matches spec.interfaces, and an agent that lives"
        )
    return ""


def conditions(before: Sequence[JSON], problems: dict[str, str], now: str) -> list[JSON]:
    """All conditions of a policy. There is none until something was wrong, as users know it."""
    held = {one["type"] for one in before}
    return merged(
        before,
        [
            condition(before, kind, "True" if kind in problems else "False", "error", problems.get(kind, ""), now)
            for kind in TYPES
            if kind in problems or kind in held
        ],
    )


def _selector(wanted: LabelSelector | None, field: str, kind: str, problems: dict[str, str]) -> Selector | None:
    if wanted is None:
        return EVERYTHING
    found, wrong = compile_selectors.plain(wanted, f"spec.{field}")
    if not wrong:
        return found
    what = {BAD_NODES: "no node announces", BAD_SERVICES: "no service is announced"}[kind]
    problems[kind] = f"{told([one.sentence for one in wrong])}. Correct it; until then {what} by this policy."
    return None


def _interfaces(wanted: Iterable[str], problems: dict[str, str]) -> tuple[str, ...] | None:
    found, wrong = set(), []
    for n, expression in enumerate(wanted):
        if why := interfaces.problem(expression):
            wrong.append(f'spec.interfaces[{n}] "{expression[:64]}" {why}')
        else:
            found.add(expression)
    if wrong:
        problems[BAD_INTERFACES] = f"{told(wrong)}. Correct it; until then it matches no interface."
    return None if wrong and not found else tuple(sorted(found))
