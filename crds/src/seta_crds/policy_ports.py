"""The policy language, what: ports, ICMP types and layer 7 rules. Part of `policy_rule`."""

from typing import Annotated, Literal

from pydantic import Field

from seta_crds.base import IntOrString, Model, Text

Protocol = Literal["TCP", "UDP", "SCTP", "VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH", "ANY"]
PortText = Annotated[
    str,
    Field(
        max_length=15,
        pattern=r"^(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4}"
        r"|([a-zA-Z0-9]-?)*[a-zA-Z](-?[a-zA-Z0-9])*)$",
    ),
]


class PortProtocol(Model):
    port: PortText | None = Field(
        default=None, description="A number in quotes, or a container port's name; 0 is every port."
    )
    end_port: int | None = Field(default=None, ge=0, le=65535, description="Last port of a range.")
    protocol: Protocol | None = Field(default=None, description="ANY where left out.")


class DenyPortRule(Model):
    ports: list[PortProtocol] | None = Field(default=None, max_length=40)


class Secret(Model):
    namespace: str | None = None
    name: str


class TLSContext(Model):
    secret: Secret
    trusted_ca: str | None = Field(default=None, alias="trustedCA")
    certificate: str | None = None
    private_key: str | None = None


class EnvoyConfig(Model):
    kind: Literal["CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"] | None = None
    name: Annotated[str, Field(min_length=1)]


class Listener(Model):
    envoy_config: EnvoyConfig
    name: Annotated[str, Field(min_length=1)]
    priority: int | None = Field(default=None, ge=1, le=100)


class HeaderMatch(Model):
    name: Annotated[str, Field(min_length=1)]
    value: str | None = None
    secret: Secret | None = None
    mismatch: Literal["LOG", "ADD", "DELETE", "REPLACE"] | None = None


class HTTPRule(Model):
    path: Text | None = Field(default=None, description="POSIX extended regular expression.")
    method: Text | None = Field(default=None, description="POSIX extended regular expression.")
    host: Text | None = Field(default=None, description="POSIX extended regular expression.")
    headers: list[str] | None = None
    header_matches: list[HeaderMatch] | None = None


class DNSRule(Model):
    match_name: str | None = Field(default=None, max_length=255, pattern=r"^([-a-zA-Z0-9_]+[.]?)+$")
    match_pattern: str | None = Field(default=None, max_length=255, pattern=r"^([-a-zA-Z0-9_*]+[.]?)+$")


class L7Rules(Model):
    http: list[HTTPRule] | None = None
    dns: list[DNSRule] | None = None


class PortRule(DenyPortRule):
    terminating_tls: TLSContext | None = Field(default=None, alias="terminatingTLS")
    originating_tls: TLSContext | None = Field(default=None, alias="originatingTLS")
    server_names: list[Annotated[str, Field(min_length=1, max_length=255)]] | None = None
    listener: Listener | None = None
    rules: L7Rules | None = None


class ICMPField(Model):
    family: Literal["IPv4", "IPv6"] | None = Field(default=None, description="IPv4 where left out.")
    type: IntOrString = Field(description="A number from 0 to 255, or a name such as EchoRequest.")


class ICMPRule(Model):
    fields_: list[ICMPField] | None = Field(default=None, alias="fields", max_length=40)
