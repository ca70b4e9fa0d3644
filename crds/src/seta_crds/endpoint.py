"""CiliumEndpoint: a pod's endpoint as its agent sees it. Written by agents, read by the operator."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from seta_crds import names
from seta_crds.base import Column, Crd, Model, Resource

State = Literal[
    "creating",
    "waiting-for-identity",
    "not-ready",
    "waiting-to-regenerate",
    "regenerating",
    "restoring",
    "ready",
    "disconnecting",
    "disconnected",
    "invalid",
]
Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]


class AddressPair(Model):
    ipv4: str | None = None
    ipv6: str | None = None


class Networking(Model):
    addressing: list[AddressPair]
    node: str | None = Field(default=None, description="InternalIP of the node the endpoint is on.")


class NamedPort(Model):
    name: str
    port: int = Field(ge=1, le=65535)
    protocol: str


class EndpointIdentity(Model):
    id: Int64
    labels: list[str] | None = None


class ExternalIdentifiers(Model):
    container_id: str | None = Field(default=None, alias="container-id")
    cni_attachment_id: str | None = Field(default=None, alias="cni-attachment-id")
    k8s_namespace: str | None = Field(default=None, alias="k8s-namespace")
    k8s_pod_name: str | None = Field(default=None, alias="k8s-pod-name")
    pod_name: str | None = Field(default=None, alias="pod-name", description="namespace/name")


class DirectionPolicy(Model):
    enforcing: bool
    state: str | None = None


class EndpointPolicy(Model):
    ingress: DirectionPolicy | None = None
    egress: DirectionPolicy | None = None


class EndpointHealth(Model):
    bpf: str | None = None
    policy: str | None = None
    connected: bool | None = None
    overall_health: str | None = None


class EndpointStatus(Model):
    id: Int64 | None = Field(default=None, description="Endpoint number, unique on its node.")
    external_identifiers: ExternalIdentifiers | None = Field(default=None, alias="external-identifiers")
    health: EndpointHealth | None = None
    identity: EndpointIdentity | None = None
    networking: Networking | None = None
    policy: EndpointPolicy | None = None
    state: State | None = None
    named_ports: list[NamedPort] | None = Field(default=None, alias="named-ports")
    service_account: str | None = Field(default=None, alias="service-account")


class CiliumEndpoint(Resource):
    """Same name and namespace as the Pod, which owns it."""

    crd: ClassVar[Crd] = Crd(
        names.ENDPOINT,
        short_names=("cep", "ciliumep"),
        categories=("cilium",),
        columns=(
            Column("Security Identity", "integer", ".status.identity.id"),
            Column("Ingress Enforcement", "boolean", ".status.policy.ingress.enforcing", 1),
            Column("Egress Enforcement", "boolean", ".status.policy.egress.enforcing", 1),
            Column("Endpoint State", "string", ".status.state"),
            Column("IPv4", "string", ".status.networking.addressing[0].ipv4"),
            Column("IPv6", "string", ".status.networking.addressing[0].ipv6"),
        ),
    )

    status: EndpointStatus | None = None
