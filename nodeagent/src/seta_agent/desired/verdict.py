"""What a flattened policy says about one packet, and why. Pure.

Called by the API for `seta policy explain`: the entries are those that the programmer writes into the map, asked the
way the datapath asks (`bpf/lib/policy.h`), so that explanation and packet cannot disagree.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

from seta_agent.desired import policy, ports
from seta_agent.desired.encode import PROTOCOLS
from seta_agent.tables import PolicyEntry

Key = tuple[int, ports.Match]  # (identity, match) of an entry
Named = Callable[[int], ports.Named]  # what ports are called where a peer's identity counts (0: anybody)


class Packet(NamedTuple):
    """The first packet of a connection, as a policy map is asked about it."""

    protocol: int
    port: int  # destination port; of ICMP the type, in the first byte


class Rule(NamedTuple):
    """One rule of a policy: ("CiliumNetworkPolicy default/rule1", "spec.ingress[0]")."""

    source: str
    origin: str


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    allowed: bool
    enforced: bool
    rules: tuple[Rule, ...] = ()  # that decided; none where a default did
    default_deny: tuple[str, ...] = ()  # policies whose presence denied by default
    default_allow: bool = False  # policies select it, and none denies by default
    localhost: bool = False  # the node to its own pod


def packet(protocol: str, port: int) -> Packet:
    """`port` is the type where the protocol is ICMP."""
    return Packet(PROTOCOLS[protocol], port << 8 if protocol in ports.ICMP else port)


def decide(
    rules: policy.Rules, found: policy.DirectionResult, peer: int, asked: Packet, *, sets: policy.Sets, named: Named
) -> Verdict:
    """`rules` are those that `found` was flattened from."""
    if not found.enforced:
        return Verdict(allowed=True, enforced=False)
    key = lookup(found.entries, peer, asked)
    if key is None:
        return Verdict(allowed=False, enforced=True, default_deny=tuple(sorted(found.default_deny)))
    decision = found.entries[key]
    return Verdict(
        allowed=not decision.deny,
        enforced=True,
        rules=tuple(origins(rules, sets, key, decision.precedence, named)),
        default_allow=decision.sources == {policy.DEFAULT_ALLOW},
        localhost=decision.sources == {policy.LOCALHOST},
    )


def lookup(entries: policy.Flat, peer: int, asked: Packet) -> Key | None:
    """The entry that decides: of the longest prefixes for the peer and for anybody the one of higher precedence."""
    exact, anybody = (_longest(entries, identity, asked) for identity in (peer, policy.ANY_IDENTITY))
    if exact is None or anybody is None:
        return exact or anybody
    rank = [(entries[key].precedence, entries[key].deny) for key in (exact, anybody)]
    return anybody if rank[1] > rank[0] else exact


def _longest(entries: policy.Flat, identity: int, asked: Packet) -> Key | None:
    match = (asked.protocol, asked.port, ports.EXACT)
    return next((key for one in (match, *_narrowest_first(match)) if (key := (identity, one)) in entries), None)


def _narrowest_first(match: ports.Match) -> list[ports.Match]:
    return sorted(ports.wider(match), key=lambda one: -one[2])


def origins(
    rules: policy.Rules, sets: policy.Sets, key: Key, precedence: policy.Precedence, named: Named
) -> Iterable[Rule]:
    """The rules that made an entry, each once, in their order."""
    identity, match = key
    found: dict[Rule, None] = {}
    for source, direction in rules:
        for entry in direction.entries:
            concerned = policy.precedence_of(entry) == precedence and _has_peer(entry, sets, identity)
            if concerned and match in policy.matches(entry, named(identity)):
                found[Rule(source, entry.origin)] = None
    return found


def _has_peer(entry: PolicyEntry, sets: policy.Sets, identity: int) -> bool:
    """Names of ports stand for numbers per peer, so that an entry for anybody has become one for each."""
    if entry.peers is None:
        return identity == policy.ANY_IDENTITY or policy.names_ports(entry)
    return any(identity in sets.get(name, ()) for name in entry.peers)
