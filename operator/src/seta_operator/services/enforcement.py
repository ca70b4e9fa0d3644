"""The condition Enforced: how many nodes enforce the current revision of a policy. Pure; used by verdicts.py."""

from collections.abc import Iterable, Sequence

from seta_crds import conditions
from seta_operator.store.facts import JSON

ENFORCED = "Enforced"
SHOWN = 3  # names of nodes in one message


def condition(nodes: int, missing: Sequence[str], generation: int, before: Iterable[JSON], now: str) -> JSON | None:
    """True when all nodes do, False while some do not; none where there are no nodes."""
    if not nodes:
        return None
    message = f"{nodes - len(missing)} of {nodes} nodes enforce {_revision(generation)}"
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        message += f"; not yet: {', '.join(missing[:SHOWN])}{more}"
    status, reason = ("False", "Pending") if missing else ("True", "AllNodes")
    return conditions.condition(before, ENFORCED, status, reason, message, now)


def is_about(held: JSON, generation: int) -> bool:
    """Whether a condition speaks of this revision."""
    told: str = held.get("message", "").partition(";")[0]
    return told.endswith(f" {_revision(generation)}")


def _revision(generation: int) -> str:
    return f"revision {generation}"
