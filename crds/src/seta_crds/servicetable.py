"""ServiceTable: a Service with its endpoints, as agents program it. Written by the operator."""

from typing import ClassVar, Literal

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Model, Resource

FrontendType = Literal["ClusterIP", "NodePort", "ExternalIPs", "LoadBalancer", "HostPort", "LocalRedirect"]
BackendState = Literal["active", "terminating", "terminating-not-serving", "quarantined", "maintenance"]


TrafficPolicy = Literal["Cluster", "Local"]


class Frontend(Model):
    type: FrontendType = Field(description="Why this address answers for the service.")
    address: str = Field(description="0.0.0.0 or :: of a NodePort: every address of a node that serves node ports.")
    port: int = Field(ge=1, le=65535)
    id: int = Field(
        ge=1, le=65535, description="Cluster-wide number of the frontend, kept for its life: the reverse NAT index."
    )


class Backend(Model):
    address: str
    port: int = Field(ge=1, le=65535)
    node: str = Field(description="Name of the node the backend is on; empty where it is on none.")
    zone: str = ""
    state: BackendState
    zones: list[str] = Field(default=[], description="Zones whose nodes prefer it; none: all of them.")
    nodes: list[str] = Field(default=[], description="Nodes that prefer it; none: all of them.")


class ServicePort(Model):
    name: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"]
    frontends: list[Frontend]
    backends: list[Backend] = Field(description="Serve the frontends of their own address family.")


class ServiceTableSpec(Model):
    """What concerns the whole Service; absent fields are the usual: Cluster, no affinity, everybody, the default."""

    type: str = Field(description="The Service's type.")
    external_traffic_policy: TrafficPolicy = "Cluster"
    internal_traffic_policy: TrafficPolicy = "Cluster"
    session_affinity_seconds: int = Field(default=0, ge=0, description="How long a client keeps its backend; 0: no.")
    source_ranges: list[str] = Field(default=[], description="Whose packets its outer addresses take; none: all.")
    source_ranges_policy: Literal["allow", "deny"] = Field(default="allow", description="What the ranges are for.")
    health_check_node_port: int = Field(default=0, ge=0, le=65535)
    algorithm: Literal["", "random", "maglev"] = Field(default="", description="Empty: the cluster's.")
    forwarding_mode: Literal["", "snat", "dsr"] = Field(default="", description="Empty: the cluster's.")
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
