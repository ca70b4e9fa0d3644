"""ServiceTable: a Service with its endpoints, as agents program it. Written by the operator."""

from typing import ClassVar, Literal

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Model, Resource

FrontendType = Literal["ClusterIP", "NodePort", "ExternalIPs", "LoadBalancer", "HostPort", "LocalRedirect"]
BackendState = Literal["active", "terminating", "terminating-not-serving", "quarantined", "maintenance"]


class Frontend(Model):
    type: FrontendType = Field(description="Why this address answers for the service.")
    address: str
    port: int = Field(ge=1, le=65535)
    id: int = Field(
        ge=1, le=65535, description="Cluster-wide number of the frontend, kept for its life: the reverse NAT index."
    )
    flags: list[str] = Field(description="Flags of the load balancer entry, for example Local.")


class Backend(Model):
    address: str
    port: int = Field(ge=1, le=65535)
    node: str = Field(description="Name of the node the backend is on; empty where it is on none.")
    zone: str = ""
    state: BackendState


class ServicePort(Model):
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"]
    frontends: list[Frontend]
    backends: list[Backend] = Field(description="Serve the frontends of their own address family.")


class ServiceTableSpec(Model):
    type: str = Field(description="The Service's type.")
    ports: list[ServicePort]


class ServiceTable(Resource):
    """Same name and namespace as the Service, which owns it."""

    crd: ClassVar[Crd] = Crd(
        names.SERVICE_TABLE,
        short_names=("svctable",),
        categories=("seta",),
        columns=(
            Column("Type", "string", ".spec.type"),
            Column("Frontends", "string", ".spec.ports[*].frontends[*].address"),
            AGE,
        ),
    )

    spec: ServiceTableSpec
