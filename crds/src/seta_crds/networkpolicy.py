"""CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: what users write, and the verdict they read."""

from typing import ClassVar

from pydantic import ConfigDict, Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Model, Resource, rule, rules
from seta_crds.conditions import Conditions
from seta_crds.policy_rule import Rule

VALID = Column("Valid", "string", '.status.conditions[?(@.type=="Valid")].status')


class NodePolicyStatus(Model):
    """Of one node; nobody writes it here, tools of the field may."""

    ok: bool | None = None
    error: str | None = None
    last_updated: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    local_policy_revision: int | None = Field(default=None, json_schema_extra={"format": "int64"})
    enforcing: bool | None = None
    annotations: dict[str, str] | None = None


class PolicyStatus(Model):
    conditions: Conditions | None = None
    derivative_policies: dict[str, NodePolicyStatus] | None = None


class _Policy(Resource):
    model_config = ConfigDict(
        json_schema_extra=rules(rule("has(self.spec) || has(self.specs)", "at least one of spec and specs is required"))
    )

    spec: Rule | None = None
    specs: list[Rule] | None = Field(
        default=None, max_length=1000, description="Several rules; bounded, so that the rules above can be checked."
    )
    status: PolicyStatus | None = None


class CiliumNetworkPolicy(_Policy):
    """Rules about endpoints of its own namespace."""

    crd: ClassVar[Crd] = Crd(
        names.NETWORK_POLICY,
        short_names=("cnp", "ciliumnp"),
        categories=("cilium", "ciliumpolicy"),
        columns=(AGE, VALID),
        status=True,
    )


class CiliumClusterwideNetworkPolicy(_Policy):
    """Rules about endpoints of every namespace, or about nodes."""

    crd: ClassVar[Crd] = Crd(
        names.CLUSTERWIDE_NETWORK_POLICY,
        short_names=("ccnp",),
        categories=("cilium", "ciliumpolicy"),
        columns=(VALID,),
        status=True,
    )
