"""SelectorSet: a selector and the identities it matches now. Written by the operator, shared by policies."""

from typing import ClassVar

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Model, Resource


class SelectorSetSpec(Model):
    selector: str = Field(description="Canonical text of the selector.")
    identities: list[int] = Field(description="Numbers of the identities that match, ascending.")


class SelectorSet(Resource):
    """Named ss-<16 hex digits of the selector's SHA-256>."""

    crd: ClassVar[Crd] = Crd(
        names.SELECTOR_SET,
        short_names=("selset",),
        categories=("seta",),
        columns=(
            Column("Selector", "string", ".spec.selector"),
            Column("Identities", "string", ".spec.identities"),
            AGE,
        ),
    )

    spec: SelectorSetSpec
