"""The comparison of a compiler with the reference evaluator, over one random situation.

Whoever has a compiler and a model of the lookup (or the eBPF program itself) brings it as one function:

    def compile_and_lookup(cluster, policies, flow, settings) -> Verdict

    cluster:  the objects of the situation, manifests as users write them (Pods with their status, Namespaces, Nodes,
              CiliumNodes, Services, EndpointSlices, CiliumCIDRGroups)
    policies: CiliumNetworkPolicies, CiliumClusterwideNetworkPolicies and NetworkPolicies, manifests too
    flow:     `reference.flows.Flow`, the first packet of a connection
    settings: `reference.flows.Settings`

and calls `agree` under hypothesis, and over `generate.from_seed` for many more. It may compile once per situation: the
same lists come with every flow of one. Verdicts are compared side by side, and with `reasons` also what decided: the
rules that allowed or denied and the policies that closed the end, for explanations that must not be almost right.
"""

import typing

import hypothesis

from tests.policy import generate, shrink
from tests.policy.generate import Situation
from tests.policy.reference import evaluate
from tests.policy.reference.flows import Decision, Flow, Manifest, Reason, Settings, Verdict

# For comparisons under hypothesis: the same situations in every run, and no shrinking but ours, which is enough.
STEADY = hypothesis.settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
CompileAndLookup = typing.Callable[[list[Manifest], list[Manifest], Flow, Settings], Verdict]
NAMED = (Reason.ALLOWED, Reason.DENIED, Reason.NEEDS_PROXY)  # the reasons that name rules


def agree(compile_and_lookup: CompileAndLookup, situation: Situation, *, reasons: bool = False) -> None:
    """AssertionError with the situation as a case for cases/*.yaml, where the verdicts on any of its flows differ."""

    def differences(asked: Situation) -> dict[Flow, str]:
        found = {flow: _difference(asked, flow, compile_and_lookup, reasons=reasons) for flow in asked.flows}
        return {flow: difference for flow, difference in found.items() if difference}

    if differences(situation):
        small = shrink.smallest(situation, lambda smaller: bool(differences(smaller)))
        told = [
            f"{flow} (node_address {flow.node_address or 'InternalIP'}): {difference}"
            for flow, difference in differences(small).items()
        ]
        right = {str(flow): str(_ask(evaluate.evaluate, small, flow)) for flow in differences(small)}
        case = generate.as_case(small, "what went wrong here", right)
        raise AssertionError("\n".join(["compiler and reference differ:", *told, "", case]))


def _ask(evaluator: CompileAndLookup, situation: Situation, flow: Flow) -> Verdict:
    return evaluator(situation.objects, situation.policies, flow, situation.settings)


def _difference(situation: Situation, flow: Flow, compile_and_lookup: CompileAndLookup, *, reasons: bool) -> str:
    expected, found = _ask(evaluate.evaluate, situation, flow), _ask(compile_and_lookup, situation, flow)
    if str(expected) != str(found):
        return f"the reference says {expected}, the compiler {found}"
    if reasons:
        for side in ("egress", "ingress"):
            one, other = _why(getattr(expected, side)), _why(getattr(found, side))
            if one != other:
                return f"{side} decided by {other} and not by {one}"
    return ""


def _why(decision: Decision) -> tuple[str, ...]:
    """What decided, without the reasons that have no rule to name: those may be told in other words."""
    rules = decision.rules if decision.reason in NAMED else ()
    return (*map(str, rules), "/", *map(str, decision.default_deny))
