"""Status conditions, as every resource with a verdict carries them, and how the operator writes them."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from seta_crds.base import Model

JSON = dict[str, Any]
LONGEST = 32768  # characters of a message: one that is longer could not be written, however often it is tried
SHOWN = 5  # sentences in one message


class Condition(Model):
    """One verdict on an object."""

    type: str = Field(min_length=1, max_length=316, description="What is judged, for example Valid.")
    status: Literal["True", "False", "Unknown"]
    last_transition_time: str | None = Field(
        default=None,
        description="When the status changed last.",
        json_schema_extra={"format": "date-time"},
    )
    reason: str | None = Field(default=None, max_length=1024, description="One word for programs.")
    message: str | None = Field(default=None, max_length=LONGEST, description="What to change, for people.")


# One condition of each type.
Conditions = Annotated[
    list[Condition],
    Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]


def condition(before: Iterable[JSON], kind: str, status: str, reason: str, message: str, now: str) -> JSON:  # noqa: PLR0917
    """One as it is to be written; its transition time is kept from `before` while the status is the same."""
    held = next((one for one in before if one["type"] == kind), None)
    since = held.get("lastTransitionTime", now) if held is not None and held["status"] == status else now
    told = message[:LONGEST]
    return {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": told}


def merged(before: Iterable[JSON], ours: Iterable[JSON]) -> list[JSON]:
    """All conditions: ours in their places, or last. A patch replaces the list whole, so others' stay as they were."""
    wanted = {one["type"]: one for one in ours}
    return [*(wanted.pop(one["type"], one) for one in before), *wanted.values()]


def told(sentences: Sequence[str]) -> str:
    """The first of them, and how many there are besides."""
    more = f"; and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
    return "; ".join(sentences[:SHOWN]) + more
