"""CiliumLoadBalancerIPPool: addresses that LoadBalancer Services get. Written by users, judged by the operator."""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Model, Resource, rule, rules
from seta_crds.conditions import Conditions
from seta_crds.policy_peers import LabelSelector
from seta_crds.schema import DEFAULT

_OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_V4 = rf"{_OCTET}([.]{_OCTET}){{3}}"
_H = "[0-9A-Fa-f]{1,4}"
_V6 = "|".join(
    [f"({_H}:){{7}}{_H}", f"({_H}:){{1,7}}:", f":(:{_H}){{1,7}}", "::"]
    + [f"({_H}:){{1,{7 - after}}}(:{_H}){{1,{after}}}" for after in range(1, 7)]
)
_ADDRESS = f"^({_V4}|{_V6})$"
_CIDR = f"^({_V4}/(3[0-2]|[12]?[0-9])|({_V6})/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))$"


def _number(field: str) -> str:
    """CEL: an IPv4 address as a number."""
    return "+".join(f"int({field}.split('.')[{n}])*{256 ** (3 - n)}" for n in range(4))


def _is_address(field: str) -> dict[str, str]:
    return rule(
        f"!has(self.{field}) || self.{field}.matches('{_ADDRESS}')",
        f"{field} must be one address, such as 10.10.200.1 or 2001:db8::1",
    )


class Block(Model):
    """Some addresses in a row.

    That stop does not lie before start is checked here for IPv4 only: CEL cannot spell an IPv6 address out. The pool's
    condition Valid says it for both. No ip() of CEL either: the oldest API server that the chart supports has none.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.cidr) != has(self.start)",
                "a block is either a cidr, or a start with or without a stop",
            ),
            rule("!has(self.stop) || has(self.start)", "stop needs a start"),
            rule(
                f"!has(self.cidr) || self.cidr.matches('{_CIDR}')",
                "cidr must be a range of addresses, such as 10.10.200.0/29 or 2001:db8::/120",
            ),
            _is_address("start"),
            _is_address("stop"),
            rule(
                "!has(self.start) || !has(self.stop) || self.start.contains(':') == self.stop.contains(':')",
                "start and stop must be of one family",
            ),
            rule(
                "!has(self.start) || !has(self.stop)"
                f" || !self.start.matches('^{_V4}$') || !self.stop.matches('^{_V4}$')"
                f" || {_number('self.start')} <= {_number('self.stop')}",
                "stop must not lie before start",
            ),
        )
    )

    cidr: str | None = Field(default=None, max_length=43, description="A range: 10.10.200.0/29.")
    start: str | None = Field(default=None, max_length=39, description="First address; without stop the only one.")
    stop: str | None = Field(default=None, max_length=39, description="Last address.")


class IPPoolSpec(Model):
    service_selector: LabelSelector | None = Field(
        default=None,
        description="Which Services it serves; absent: all. Their labels, and as if they were labels"
        " io.kubernetes.service.namespace and io.kubernetes.service.name.",
    )
    allow_first_last_ips: Literal["Yes", "No"] | None = Field(
        default=None,
        alias="allowFirstLastIPs",
        description='Whether the first and the last address of a cidr are given; absent: Yes. "No" takes none back.',
    )
    blocks: list[Block] | None = Field(default=None, max_length=256, description="The addresses; must not overlap.")
    disabled: bool | None = Field(
        default=None,
        description="Gives no more addresses; those given stay.",
        json_schema_extra={DEFAULT: False},
    )


class IPPoolStatus(Model):
    conditions: Conditions | None = None


class CiliumLoadBalancerIPPool(Resource):
    """Where ranges of two pools overlap, the newer one is in conflict and gives nothing until that is resolved."""

    crd: ClassVar[Crd] = Crd(
        names.LOAD_BALANCER_IP_POOL,
        short_names=("ippools", "ippool", "lbippool", "lbippools"),
        categories=("cilium",),
        columns=(
            Column("Disabled", "boolean", ".spec.disabled"),
            Column("Conflicting", "string", '.status.conditions[?(@.type=="cilium.io/PoolConflict")].status'),
            Column("IPs Available", "string", '.status.conditions[?(@.type=="cilium.io/IPsAvailable")].message'),
            AGE,
        ),
        status=True,
        also_served=("v2alpha1",),
    )

    spec: IPPoolSpec
    status: IPPoolStatus | None = None
