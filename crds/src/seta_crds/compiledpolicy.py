"""CompiledPolicy: one user's policy with every selector replaced by a set. Written by the operator."""

from typing import ClassVar, Literal

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Model, Resource
from seta_crds.conditions import Conditions

Protocol = Literal["TCP", "UDP", "SCTP", "ICMP", "ICMPV6", "ANY"]


class Source(Model):
    """The object it was compiled from."""

    kind: str
    namespace: str = ""
    name: str
    uid: str = ""
    generation: int = 0


class Port(Model):
    protocol: Protocol
    port: int | None = Field(default=None, ge=0, le=65535, description="Of ICMP and ICMPV6: the message type.")
    end_port: int | None = Field(default=None, ge=1, le=65535)
    name: str | None = Field(default=None, description="A container port's name, resolved per pod by agents.")


class Entry(Model):
    origin: str = Field(description="Where in the source, for example spec.ingress[0].")
    action: Literal["Allow", "Deny"]
    peers: list[str] | None = Field(
        default=None, description="Selector sets; absent is any peer, an empty list is nobody."
    )
    ports: list[Port] | None = Field(default=None, description="Absent is every port and protocol.")
    yields: bool | None = Field(
        default=None, description="Of a Deny: any Allow beats it. The source allows this with more than is enforced."
    )


class Direction(Model):
    default_deny: bool = Field(description="Whether what no entry allows is denied.")
    entries: list[Entry]


class CompiledRule(Model):
    subject: str | None = Field(
        default=None, description="Selector set of the endpoints that the rule is about; absent where nodes is given."
    )
    nodes: list[str] | None = Field(
        default=None, description="Names of the nodes whose own traffic the rule is about, sorted."
    )
    ingress: Direction | None = None
    egress: Direction | None = None
    log: str | None = Field(default=None, description="What the source wants to be told with its verdicts.")


class CompiledPolicySpec(Model):
    source: Source
    rules: list[CompiledRule]


class CompiledPolicyStatus(Model):
    """The verdict on a NetworkPolicy, which has no place for one; other policies carry theirs themselves."""

    conditions: Conditions | None = None


class CompiledPolicy(Resource):
    """Named cnp.<namespace>.<name>, ccnp.<name>, or np.<namespace>.<name> for a NetworkPolicy."""

    crd: ClassVar[Crd] = Crd(
        names.COMPILED_POLICY,
        short_names=("cpol",),
        categories=("seta",),
        columns=(
            Column("Kind", "string", ".spec.source.kind"),
            Column("Namespace", "string", ".spec.source.namespace"),
            Column("Policy", "string", ".spec.source.name"),
            Column("Generation", "integer", ".spec.source.generation"),
            AGE,
        ),
        status=True,
    )

    spec: CompiledPolicySpec
    status: CompiledPolicyStatus | None = None
