"""The policy language, who: selectors, CIDRs, entities, services, names, groups.

Part of `policy_rule`; the schema takes the field's whole language, the operator says (condition
Valid) which of it is not supported yet.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from seta_crds.base import Model, rule, rules

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
CIDR = Annotated[
    str,
    Field(
        max_length=49,
        pattern=r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$",
        description="An address range, 10.1.0.0/16 or 2001:db8::/32.",
    ),
]
Entity = Literal[
    "all",
    "world",
    "cluster",
    "host",
    "init",
    "ingress",
    "unmanaged",
    "remote-node",
    "health",
    "none",
    "kube-apiserver",
    "cluster-mesh",
]


class LabelExpression(Model):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0"
                " : !has(self.values) || size(self.values) == 0",
                "operator In or NotIn wants values, Exists or DoesNotExist wants none",
            )
        )
    )

    key: str = Field(max_length=317)
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[LabelValue] | None = None


class LabelSelector(Model):
    """Both parts must match; an empty selector matches everything in its scope."""

    # Server-side apply replaces it whole: else it takes {} in the place of labels for no selector at all.
    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    match_labels: dict[str, LabelValue] | None = None
    match_expressions: list[LabelExpression] | None = None


class CIDRRule(Model):
    """Exactly one of cidr, cidrGroupRef and cidrGroupSelector; except with cidr only.

    Not said in CEL: in lists as deep as these it exceeds the API server's cost budget. The condition says it.
    """

    cidr: CIDR | None = None
    cidr_group_ref: str | None = Field(default=None, max_length=253)
    cidr_group_selector: LabelSelector | None = None
    except_: list[CIDR] | None = Field(default=None, alias="except", description="Ranges inside cidr left out.")


class AWSGroup(Model):
    labels: dict[str, str] | None = None
    security_groups_ids: list[str] | None = None
    security_groups_names: list[str] | None = None
    region: str | None = None


class Groups(Model):
    aws: AWSGroup | None = None


class K8sService(Model):
    service_name: str | None = None
    namespace: str | None = None


class K8sServiceSelector(Model):
    selector: LabelSelector
    namespace: str | None = None


class ServiceReference(Model):
    k8s_service: K8sService | None = Field(default=None, alias="k8sService")
    k8s_service_selector: K8sServiceSelector | None = Field(default=None, alias="k8sServiceSelector")


class FQDN(Model):
    match_name: str | None = Field(default=None, max_length=255, pattern=r"^([-a-zA-Z0-9_]+[.]?)+$")
    match_pattern: str | None = Field(default=None, max_length=255, pattern=r"^([-a-zA-Z0-9_*]+[.]?)+$")
