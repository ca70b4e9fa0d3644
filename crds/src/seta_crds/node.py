"""CiliumNode: a node's addresses and the pod CIDR it may hand out. Written by the operator."""

from typing import ClassVar, Literal

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Model, Resource

AddressType = Literal["InternalIP", "ExternalIP", "Hostname", "CiliumInternalIP"]


class NodeAddress(Model):
    type: AddressType
    ip: str = Field(max_length=253)


class NodeIpam(Model):
    pod_cidrs: list[str] | None = Field(
        default=None, alias="podCIDRs", description="Ranges the node gives its pods addresses from."
    )


class NodeSpec(Model):
    addresses: list[NodeAddress] | None = Field(
        default=None,
        description="InternalIP is the node's own; CiliumInternalIP is its router, the first address of the pod CIDR.",
    )
    ipam: NodeIpam | None = None


class OperatorStatus(Model):
    error: str | None = Field(default=None, description="Why the node has no pod CIDR, and what to do.")


class NodeIpamStatus(Model):
    operator_status: OperatorStatus | None = Field(default=None, alias="operator-status")


class NodeStatus(Model):
    ipam: NodeIpamStatus | None = None


class CiliumNode(Resource):
    """Same name as the Node."""

    crd: ClassVar[Crd] = Crd(
        names.CILIUM_NODE,
        short_names=("cn", "ciliumn"),
        categories=("cilium",),
        columns=(
            Column("CiliumInternalIP", "string", '.spec.addresses[?(@.type=="CiliumInternalIP")].ip'),
            Column("InternalIP", "string", '.spec.addresses[?(@.type=="InternalIP")].ip'),
            AGE,
        ),
        status=True,
    )

    spec: NodeSpec
    status: NodeStatus | None = None
