"""CompiledPolicy and SelectorSet → rows. Called by the reflectors; pure.

A policy that cannot be read whole is refused whole: half a policy might allow what its other half denies.
"""

from sys import intern
from typing import Any

from seta_agent.tables import Policy, PolicyDirection, PolicyEntry, PolicyRule, PortMatch, SelectorSet

ACTIONS = {"Allow": False, "Deny": True}  # action -> deny
_NUMBERS: dict[int, int] = {}  # identity -> the one object for it: sets of thousands share their members
PROTOCOLS = frozenset({"TCP", "UDP", "SCTP", "ICMP", "ICMPV6", "ANY"})


def policy(item: dict[str, Any]) -> Policy:
    spec = item["spec"]
    source = spec["source"]
    name = "/".join(part for part in (source.get("namespace"), source["name"]) if part)
    return Policy(
        name=item["metadata"]["name"],
        source=f"{source['kind']} {name}",
        generation=int(source.get("generation") or 0),
        rules=tuple(_rule(rule) for rule in spec.get("rules") or ()),
    )


def _rule(rule: dict[str, Any]) -> PolicyRule:
    """About the endpoints in a selector set, or about nodes themselves."""
    nodes = rule.get("nodes")
    return PolicyRule(
        subject=intern(rule["subject"]) if nodes is None else "",
        ingress=_direction(rule.get("ingress")),
        egress=_direction(rule.get("egress")),
        nodes=None if nodes is None else tuple(intern(name) for name in nodes),
    )


def _direction(direction: dict[str, Any] | None) -> PolicyDirection | None:
    if direction is None:
        return None
    entries = tuple(_entry(entry) for entry in direction.get("entries") or ())
    return PolicyDirection(bool(direction["defaultDeny"]), entries)


def _entry(entry: dict[str, Any]) -> PolicyEntry:
    peers, ports = entry.get("peers"), entry.get("ports")
    return PolicyEntry(
        origin=intern(entry["origin"]),
        deny=ACTIONS[entry["action"]],
        yields=bool(entry.get("yields")),
        peers=None if peers is None else tuple(intern(name) for name in peers),
        ports=None if ports is None else tuple(_port(port) for port in ports),
    )


def _port(port: dict[str, Any]) -> PortMatch:
    first, last = int(port.get("port") or 0), int(port.get("endPort") or 0)
    if port["protocol"] not in PROTOCOLS or not 0 <= first <= 0xFFFF or not (last == 0 or first <= last <= 0xFFFF):
        raise ValueError(f"port {port}")
    return PortMatch(intern(port["protocol"]), first, last, port.get("name") or "")


def selector_set(item: dict[str, Any]) -> SelectorSet:
    spec = item["spec"]
    identities = frozenset(_NUMBERS.setdefault(number, number) for number in map(int, spec.get("identities") or ()))
    return SelectorSet(item["metadata"]["name"], spec.get("selector") or "", identities)
