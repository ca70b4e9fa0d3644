"""Layer 4 of a rule: does it cover this protocol and this port or message type, and with nothing asked beyond?

Called by `cilium` and `kubernetes`. The port is the destination's after service translation ("Layer 4 policies apply to
ports after service port mapping" [Cilium, layer4]), so a named port is one of the pod that is the destination.
"""

import enum

from tests.policy.reference import icmp
from tests.policy.reference.cluster import Pod
from tests.policy.reference.flows import TRANSPORTS, Flow, Manifest

# What an entry of toPorts can ask for beyond layer 4.
BEYOND = ("terminatingTLS", "originatingTLS", "serverNames", "listener")


class Coverage(enum.IntEnum):
    NONE = 0
    RESTRICTED = 1  # covered, but only as far as something beyond layer 4 says
    FULL = 2


def covers(rule: Manifest, flow: Flow, destination: Pod | None) -> Coverage:
    """Without toPorts and icmps a Cilium rule is about all traffic; with either, about nothing else: "if any layer 4
    policy is specified, then ICMP will be blocked", "if any ICMP policy is specified, layer 4 communication will be
    blocked" [Cilium, layer4]. A rule that demands authentication restricts all that it covers."""
    authentication = (rule.get("authentication") or {}).get("mode", "disabled") != "disabled"
    if not rule.get("toPorts") and not rule.get("icmps"):
        found = Coverage.FULL
    else:
        of_ports = [_port_rule(each, flow, destination) for each in rule.get("toPorts") or []]
        of_types = [_icmp_rule(each, flow) for each in rule.get("icmps") or []]
        found = max(of_ports + of_types)
    return min(found, Coverage.RESTRICTED) if authentication else found


def _port_rule(item: Manifest, flow: Flow, destination: Pod | None) -> Coverage:
    """`rules` empty or omitted: no layer 7 rules are enforced [Cilium, api: PortRule]."""
    if not any(cilium_port(each, flow, destination) for each in item.get("ports") or []):
        return Coverage.NONE
    layer7 = any(value is not None for value in (item.get("rules") or {}).values())
    return Coverage.RESTRICTED if layer7 or any(item.get(field) for field in BEYOND) else Coverage.FULL


def cilium_port(item: Manifest, flow: Flow, destination: Pod | None) -> bool:
    """protocol "ANY", omitted or empty: "any protocols with transport ports (TCP, UDP, SCTP) match"; port 0: all ports;
    endPort (0 = none) makes a range, both ends included, and is ignored with a name [Cilium, layer4, api:
    PortProtocol]."""
    protocol, port = item.get("protocol") or "ANY", str(item.get("port") or "0")
    if flow.protocol not in TRANSPORTS or protocol not in ("ANY", flow.protocol):
        return False
    if not port.isdigit():
        return has_named_port(port, flow, destination)
    return int(port) == 0 or int(port) <= flow.port <= (item.get("endPort") or int(port))


def has_named_port(name: str, flow: Flow, destination: Pod | None) -> bool:
    """A name is whatever the destination pod calls so, which may differ from pod to pod; case does not matter. "Named
    port specified for a container may narrow the protocol down, but may not contradict it" [Cilium, api: PortProtocol].
    What is no pod has no named ports."""
    ports = destination.named_ports if destination else ()
    return any((each.name, each.protocol, each.port) == (name.lower(), flow.protocol, flow.port) for each in ports)


def _icmp_rule(item: Manifest, flow: Flow) -> Coverage:
    """A type of a family, IPv4 unless it says IPv6 [Cilium, layer4: Limit ICMP/ICMPv6 types]."""
    for field in item.get("fields") or []:
        family = field.get("family") or "IPv4"
        protocol = {"IPv4": "ICMP", "IPv6": "ICMPv6"}[family]
        if (flow.protocol, flow.port) == (protocol, icmp.number(family, field["type"])):
            return Coverage.FULL
    return Coverage.NONE


def kubernetes_ports(items: list[Manifest] | None, flow: Flow, destination: Pod | None) -> bool:
    """ports empty or missing: "traffic not restricted by port"; else one of them must match [Kubernetes,
    NetworkPolicyIngressRule]."""
    return not items or any(_kubernetes_port(each, flow, destination) for each in items)


def _kubernetes_port(item: Manifest, flow: Flow, destination: Pod | None) -> bool:
    """protocol: "if not specified, this field defaults to TCP"; port: "if not provided, this matches all port names and
    numbers"; endPort: "the range of ports from port to endPort, inclusive" [Kubernetes, NetworkPolicyPort]."""
    if flow.protocol != (item.get("protocol") or "TCP"):
        return False
    port = item.get("port")
    if port is None:
        return True
    if isinstance(port, str):
        return has_named_port(port, flow, destination)
    return bool(port <= flow.port <= (item.get("endPort") or port))
