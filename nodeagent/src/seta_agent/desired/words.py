"""How a verdict is said: the same words in `seta policy explain` and in `seta monitor`. Pure."""

from collections.abc import Iterable

MODE_ALWAYS = "policyEnforcementMode always"


def denied_by_default(policies: Iterable[str]) -> str:
    """No rule allows it, and these policies' presence denies what none allows; none: the cluster's mode does."""
    named = sorted(policies) or [MODE_ALWAYS]
    verb = "denies" if len(named) == 1 else "deny"
    return f"denied by default: no rule allows it, and {', '.join(named)} {verb} what none allows"


def denied_by(policies: Iterable[str]) -> str:
    return f"denied by {', '.join(policies)}"


def allowed_by(policies: Iterable[str]) -> str:
    return f"allowed by {', '.join(policies)}"
