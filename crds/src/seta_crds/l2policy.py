"""CiliumL2AnnouncementPolicy: which nodes answer on the LAN for which Services. Written by users.

The selectors' keys and the interface expressions are judged by conditions, not by the schema, as users know it.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Crd, Model, Resource
from seta_crds.conditions import Conditions
from seta_crds.policy_peers import LabelSelector

Expression = Annotated[str, Field(max_length=4096)]


class L2PolicySpec(Model):
    node_selector: LabelSelector | None = Field(default=None, description="Nodes that may answer; absent: all.")
    service_selector: LabelSelector | None = Field(
        default=None,
        description="Services it is about; absent: all. Their labels, and as if they were labels"
        " io.kubernetes.service.namespace and io.kubernetes.service.name.",
    )
    load_balancer_ips: bool | None = Field(
        default=None, alias="loadBalancerIPs", description="Answer for addresses in the Services' status."
    )
    external_ips: bool | None = Field(
        default=None, alias="externalIPs", description="Answer for the Services' spec.externalIPs."
    )
    interfaces: list[Expression] | None = Field(
        default=None,
        max_length=256,
        description="Regular expressions, found anywhere in a device's name; absent or empty: all known devices.",
    )


class L2PolicyStatus(Model):
    conditions: Conditions | None = None


class CiliumL2AnnouncementPolicy(Resource):
    """Several policies add up: a Service is announced wherever one of them says so."""

    crd: ClassVar[Crd] = Crd(
        names.L2_POLICY,
        short_names=("l2announcement",),
        categories=("cilium",),
        columns=(AGE,),
        status=True,
    )

    spec: L2PolicySpec | None = None
    status: L2PolicyStatus | None = None
