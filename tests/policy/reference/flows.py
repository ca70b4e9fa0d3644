"""What goes in and what comes out: a flow, and the verdict on it with its reasons.

Used by the tables of cases, by the generators, and by whoever compares a compiler with this evaluator: `Flow`,
`Settings` and `Verdict` are the whole of its interface beside `evaluate.evaluate`. Nothing here knows what a policy
means.
"""

import dataclasses
import enum
import ipaddress
import typing

from tests.policy.reference import icmp

Manifest = dict[str, typing.Any]  # an object as a user writes it
TRANSPORTS = ("TCP", "UDP", "SCTP")  # the protocols that have ports
ICMPS = ("ICMP", "ICMPv6")  # the protocols that have types


@dataclasses.dataclass(frozen=True)
class Settings:
    """Cluster-wide settings, named as in the Helm chart."""

    policy_enforcement_mode: typing.Literal["default", "always", "never"] = "default"
    policy_cidr_match_mode: tuple[typing.Literal["nodes"], ...] = ()
    cluster_name: str = "default"


@dataclasses.dataclass(frozen=True)
class Flow:
    """The first packet of a connection, after service translation.

    source, destination: "namespace/pod", "node:name", "reserved:name" or an IP address (an address that a pod or a node
    has stands for that pod or node). port: 1..65535 of TRANSPORTS, the message type 0..255 of ICMPS.
    node_address: the address that a node uses, where it has several ("" = its InternalIP).
    """

    source: str
    destination: str
    protocol: str
    port: int
    node_address: str = ""

    @classmethod
    def parse(cls, text: str) -> "Flow":
        """Read "shop/web -> shop/db 5432/TCP", "10.0.0.1 -> shop/web EchoRequest/ICMP", "node:w1 -> …"."""
        source, _, rest = text.partition(" -> ")
        destination, _, traffic = rest.rpartition(" ")
        port, _, protocol = traffic.partition("/")
        if protocol in ICMPS:
            return cls(source, destination, protocol, icmp.number("IPv4" if protocol == "ICMP" else "IPv6", port))
        if protocol not in TRANSPORTS:
            raise ValueError(f"{text!r}: the protocol is one of {', '.join(TRANSPORTS + ICMPS)}")
        return cls(source, destination, protocol, int(port))

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination} {self.port}/{self.protocol}"


@dataclasses.dataclass(frozen=True, order=True)
class RuleRef:
    """One rule of one policy. origin: "spec.ingress[0]", "specs[1].egressDeny[2]"; "spec" or "specs[1]" for the
    whole."""

    kind: str
    namespace: str
    name: str
    origin: str

    def __str__(self) -> str:
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name} {self.origin}".rstrip()


class Reason(enum.StrEnum):
    """Why a direction was decided as it was: a closed list."""

    NOT_AN_ENDPOINT = "this end is not in the cluster: nobody enforces a policy there"
    SAME_ENDPOINT = "the traffic never leaves the endpoint"
    MODE_NEVER = "policyEnforcementMode is never"
    LOCAL_HOST = "a node always reaches the pods that run on it"
    NOT_SELECTED = "no policy puts this end into default deny"
    ALLOWED = "a rule allows it"
    DENIED = "a rule denies it"
    NEEDS_PROXY = "only a rule with a part beyond layer 4 covers it, and such parts are not enforced"
    DEFAULT_DENY = "default deny, and no rule allows it"


@dataclasses.dataclass(frozen=True)
class Decision:
    """One direction.

    rules: those that allowed (reason ALLOWED), denied (DENIED) or would have restricted it (NEEDS_PROXY).
    default_deny: the policies whose presence puts this end into default deny, whatever the verdict.
    """

    allowed: bool
    reason: Reason
    rules: tuple[RuleRef, ...] = ()
    default_deny: tuple[RuleRef, ...] = ()


@dataclasses.dataclass(frozen=True)
class Verdict:
    egress: Decision
    ingress: Decision

    @property
    def allowed(self) -> bool:
        """Policy must allow it on both sides, the sender's and the receiver's [Cilium, layer3: Endpoints based]."""
        return self.egress.allowed and self.ingress.allowed

    def __str__(self) -> str:
        denied = [
            side for side, decision in (("egress", self.egress), ("ingress", self.ingress)) if not decision.allowed
        ]
        return f"denied {' and '.join(denied)}" if denied else "allowed"


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
