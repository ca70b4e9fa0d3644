"""The policy language: one rule, as it stands under spec or in specs of a CiliumNetworkPolicy.

The schema accepts the field's full set of fields; the operator's compiler decides which of them
it supports. Who is in `policy_peers`, what in `policy_ports`.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from seta_crds.base import Model, Text, rule, rules
from seta_crds.policy_peers import CIDR, FQDN, CIDRRule, Entity, Groups, LabelSelector, ServiceReference
from seta_crds.policy_ports import DenyPortRule, ICMPRule, PortRule

Gone = Annotated[list[LabelSelector], Field(max_length=0, description="Deprecated: must be empty.")]


class Authentication(Model):
    mode: Literal["disabled", "required", "test-always-fail"]


class DefaultDeny(Model):
    """Whether the rule's presence denies what nothing allows; each true where the rule has that direction."""

    ingress: bool | None = None
    egress: bool | None = None


class Log(Model):
    value: str | None = Field(default=None, max_length=32, pattern=r"^[\x20-\x7e]*$")


class IngressDenyRule(Model):
    from_endpoints: list[LabelSelector] | None = None
    from_requires: Gone | None = None
    from_cidr: list[CIDR] | None = Field(default=None, alias="fromCIDR")
    from_cidr_set: list[CIDRRule] | None = Field(default=None, alias="fromCIDRSet")
    from_entities: list[Entity] | None = None
    from_groups: list[Groups] | None = None
    from_nodes: list[LabelSelector] | None = None
    to_ports: list[DenyPortRule] | None = None
    icmps: list[ICMPRule] | None = None


class IngressRule(IngressDenyRule):
    to_ports: list[PortRule] | None = None  # type: ignore[assignment]  # with layer 7
    authentication: Authentication | None = None


class EgressDenyRule(Model):
    to_endpoints: list[LabelSelector] | None = None
    to_requires: Gone | None = None
    to_cidr: list[CIDR] | None = Field(default=None, alias="toCIDR")
    to_cidr_set: list[CIDRRule] | None = Field(default=None, alias="toCIDRSet")
    to_entities: list[Entity] | None = None
    to_services: list[ServiceReference] | None = None
    to_groups: list[Groups] | None = None
    to_nodes: list[LabelSelector] | None = None
    to_ports: list[DenyPortRule] | None = None
    icmps: list[ICMPRule] | None = None


class EgressRule(EgressDenyRule):
    to_ports: list[PortRule] | None = None  # type: ignore[assignment]  # with layer 7
    to_fqdns: list[FQDN] | None = Field(default=None, alias="toFQDNs")
    authentication: Authentication | None = None


class RuleLabel(Model):
    key: str
    value: str | None = None
    source: str | None = None


class Rule(Model):
    """What some endpoints (or nodes) may receive and send."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.endpointSelector) != has(self.nodeSelector)",
                "rule must have exactly one of endpointSelector and nodeSelector",
            ),
            rule(
                # Plain && and ||: lists and macros would exceed the API server's cost budget.
                "(has(self.ingress) && self.ingress.size() > 0)"
                " || (has(self.ingressDeny) && self.ingressDeny.size() > 0)"
                " || (has(self.egress) && self.egress.size() > 0)"
                " || (has(self.egressDeny) && self.egressDeny.size() > 0)",
                "rule must have at least one of ingress, ingressDeny, egress, egressDeny",
            ),
        )
    )

    endpoint_selector: LabelSelector | None = None
    node_selector: LabelSelector | None = None
    ingress: list[IngressRule] | None = None
    ingress_deny: list[IngressDenyRule] | None = None
    egress: list[EgressRule] | None = None
    egress_deny: list[EgressDenyRule] | None = None
    labels: list[RuleLabel] | None = None
    enable_default_deny: DefaultDeny | None = None
    description: Text | None = None
    log: Log | None = None
