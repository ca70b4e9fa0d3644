"""CiliumCIDRGroup: address ranges under one name, for policies to refer to. Written by users."""

from typing import ClassVar

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Crd, Model, Resource
from seta_crds.policy_peers import CIDR


class CIDRGroupSpec(Model):
    external_cidrs: list[CIDR] = Field(alias="externalCIDRs", description="The ranges; single addresses are /32, /128.")


class CiliumCIDRGroup(Resource):
    """Policies name it (cidrGroupRef), or its labels (cidrGroupSelector)."""

    crd: ClassVar[Crd] = Crd(
        names.CIDR_GROUP,
        short_names=("ccg",),
        categories=("cilium",),
        columns=(AGE,),
        also_served=("v2alpha1",),
    )

    spec: CIDRGroupSpec
