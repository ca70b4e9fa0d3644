"""Status conditions, as every resource with a verdict carries them."""

from typing import Annotated, Literal

from pydantic import Field

from seta_crds.base import Model


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
    message: str | None = Field(default=None, max_length=32768, description="What to change, for people.")


# One condition of each type.
Conditions = Annotated[
    list[Condition],
    Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]
