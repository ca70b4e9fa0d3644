"""CiliumIdentity: a number for one distinct set of identity labels. Written by the operator."""

from typing import Any, ClassVar

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Resource


class CiliumIdentity(Resource):
    """The name is the number, the labels it stands for are `security-labels`.

    256-65535: pods; from 16777217: address ranges that policies name; from 33554433: single nodes.
    """

    crd: ClassVar[Crd] = Crd(
        names.IDENTITY,
        short_names=("ciliumid",),
        categories=("cilium",),
        columns=(Column("Namespace", "string", r".metadata.labels.io\.kubernetes\.pod\.namespace"), AGE),
        status=True,
    )

    security_labels: dict[str, str] = Field(
        alias="security-labels", description="Identity labels: source:key to value."
    )
    status: dict[str, Any] | None = Field(default=None, description="Unused.")
