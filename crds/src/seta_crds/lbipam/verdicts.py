"""What people are told: the condition of a Service and those of a pool, without times. Used by the operator.

Types, reasons and numbers as texts are the field's. Valid is ours: it says what of a pool is not understood, and what
makes a pool that is understood give nothing.
"""

from collections.abc import Sequence

from seta_crds.lbipam.allocation import Allocation
from seta_crds.lbipam.pools import Pool
from seta_crds.lbipam.requests import Problem

Condition = dict[str, str]
SATISFIED = "cilium.io/IPAMRequestSatisfied"
LONGEST = 4000  # characters of a message


def of_service(problems: Sequence[Problem]) -> Condition:
    """Whether it has all that it asks for, and why not."""
    if not problems:
        return _condition(SATISFIED, "True", "satisfied", "")
    return _condition(SATISFIED, "False", problems[0].reason, ". ".join(problem.message for problem in problems))


def of_pool(allocation: Allocation, name: str) -> list[Condition]:
    """All conditions of a pool."""
    conflict = allocation.layout.conflicts.get(name)
    numbers = {
        "Total": allocation.layout.total[name],
        "Available": allocation.held.free[name],
        "Used": allocation.held.used[name],
    }
    return [
        _condition("cilium.io/PoolConflict", "True", "cidr_overlap", conflict)
        if conflict
        else _condition("cilium.io/PoolConflict", "False", "resolved", ""),
        *(_condition(f"cilium.io/IPs{word}", "Unknown", "noreason", str(n)) for word, n in numbers.items()),
        _valid(allocation, allocation.layout.pools[name]),
    ]


def _valid(allocation: Allocation, pool: Pool) -> Condition:
    if pool.wrong:
        gives = "The rest of the pool works" if pool.blocks else "The pool gives nothing"
        if pool.selector is None:
            gives = "It gives no more addresses, those given stay"
        told = "; ".join(pool.wrong)
        return _condition("Valid", "False", "NotUnderstood", f"{told}. {gives}; correct or remove what is wrong.")
    if not pool.blocks:
        return _condition("Valid", "False", "NoAddresses", "spec.blocks is empty: the pool has no address to give.")
    if pool.disabled:
        return _condition("Valid", "True", "Disabled", "It gives no more addresses; those given stay.")
    if not allocation.selection.of_pool[pool.name]:
        whom = f"matches {pool.wants}" if pool.selector and pool.selector.requirements else "is ours to serve"
        return _condition("Valid", "True", "NoService", f"No Service of type LoadBalancer {whom}.")
    return _condition("Valid", "True", "Usable", "")


def _condition(type_: str, status: str, reason: str, message: str) -> Condition:
    return {"type": type_, "status": status, "reason": reason, "message": message[:LONGEST]}
