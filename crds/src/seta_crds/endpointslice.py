"""CiliumEndpointSlice: up to 100 endpoints in one object, so that agents watch slices, not endpoints.

Written by the operator from CiliumEndpoints; the agents' ipcache comes from it.
"""

from typing import ClassVar

from pydantic import Field

from seta_crds import names
from seta_crds.base import Crd, Model, Resource
from seta_crds.endpoint import Int64, NamedPort, Networking

MAX_ENDPOINTS = 100


class SliceEndpoint(Model):
    name: str | None = Field(default=None, description="Name of the CiliumEndpoint and of its Pod.")
    id: Int64 | None = Field(default=None, description="Number of the identity.")
    networking: Networking | None = None
    named_ports: list[NamedPort] | None = Field(default=None, alias="named-ports")
    service_account: str | None = Field(default=None, alias="service-account")


class CiliumEndpointSlice(Resource):
    """All endpoints of one slice are of one namespace."""

    crd: ClassVar[Crd] = Crd(names.CILIUM_ENDPOINT_SLICE, short_names=("ces",), categories=("cilium",))

    namespace: str | None = None
    endpoints: list[SliceEndpoint] = Field(max_length=MAX_ENDPOINTS)
