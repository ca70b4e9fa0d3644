"""cilium_policy_v2_<endpoint>: the policies that select an identity, flattened into entries of a longest-prefix map.

Called by the programmer once per identity (endpoints of one identity share the result). The map is asked twice, for
the peer's identity and for 0 (any), and each lookup finds the longest prefix only; between the two the higher
precedence decides. So denies have the higher precedence, and an allow that lies within a deny of the same identity is
left out: its longer prefix would hide the deny.
"""

import dataclasses
import enum
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from seta_agent.desired import ports
from seta_agent.tables import Policy, PolicyDirection, PolicyEntry, ReservedIdentity

Mode = Literal["default", "always", "never"]
Sets = Mapping[str, frozenset[int]]  # selector set -> identities
Destinations = Mapping[int, ports.Named]  # identity -> its pods' named ports
Rules = list[tuple[str, PolicyDirection]]  # (source of the policy, one direction of one rule)
ANY_IDENTITY = 0
LOCALHOST = "localhost"  # stands for the policy where the node's own access to its pods decides
DEFAULT_ALLOW = "default-allow"  # and where no policy denies by default


class Precedence(enum.IntEnum):
    ALLOW = 1
    DENY = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    deny: bool
    sources: frozenset[str]  # of the policies whose entries these are


Flat = dict[tuple[int, ports.Match], Decision]  # (identity, match) -> decision


@dataclasses.dataclass(frozen=True, slots=True)
class DirectionResult:
    enforced: bool
    entries: Flat
    default_deny: frozenset[str] = frozenset()  # sources of the policies whose presence denies by default


def select(policies: Iterable[Policy], identity: int, sets: Sets) -> tuple[Rules, Rules]:
    """The rules that apply to an identity: (ingress, egress)."""
    ingress: Rules = []
    egress: Rules = []
    for policy in policies:
        for rule in policy.rules:
            if identity in sets.get(rule.subject, ()):
                if rule.ingress:
                    ingress.append((policy.source, rule.ingress))
                if rule.egress:
                    egress.append((policy.source, rule.egress))
    return ingress, egress


def select_node(policies: Iterable[Policy], node: str) -> tuple[Rules, Rules]:
    """The rules that apply to a node's own traffic: (ingress, egress)."""
    chosen = [(row.source, rule) for row in policies for rule in row.rules if node in (rule.nodes or ())]
    return (
        [(source, rule.ingress) for source, rule in chosen if rule.ingress],
        [(source, rule.egress) for source, rule in chosen if rule.egress],
    )


def ingress(rules: Rules, mode: Mode, sets: Sets, own_ports: ports.Named) -> DirectionResult:
    """What may come in. The node itself always may, unless a policy denies it: kubelet's probes live from that."""
    if not _enforced(rules, mode):
        return DirectionResult(enforced=False, entries={})
    flat: Flat = {}
    for source, entry in _entries(rules):
        _expand(flat, source, entry, [(peer, own_ports) for peer in _peers(entry, sets)])
    _add(flat, ReservedIdentity.HOST, ports.EVERYTHING, deny=False, source=LOCALHOST)
    return _finish(flat, rules, mode)


def egress(rules: Rules, mode: Mode, sets: Sets, destinations: Destinations) -> DirectionResult:
    """What may go out; named ports are those of the destinations' pods."""
    if not _enforced(rules, mode):
        return DirectionResult(enforced=False, entries={})
    flat: Flat = {}
    for source, entry in _entries(rules):
        peers = _peers(entry, sets)
        if entry.peers is None and names_ports(entry):
            peers = destinations.keys()
        _expand(flat, source, entry, [(peer, destinations.get(peer, {})) for peer in peers])
    return _finish(flat, rules, mode)


def _enforced(rules: Rules, mode: Mode) -> bool:
    return mode == "always" or (mode == "default" and bool(rules))


def _finish(flat: Flat, rules: Rules, mode: Mode) -> DirectionResult:
    denying = frozenset(source for source, direction in rules if direction.default_deny)
    if not denying and mode == "default":  # rules that only add denies leave the rest open
        _add(flat, ANY_IDENTITY, ports.EVERYTHING, deny=False, source=DEFAULT_ALLOW)
    return DirectionResult(enforced=True, entries=_without_hidden_denies(flat), default_deny=denying)


def _entries(rules: Rules) -> Iterator[tuple[str, PolicyEntry]]:
    return ((source, entry) for source, direction in rules for entry in direction.entries)


def _peers(entry: PolicyEntry, sets: Sets) -> Collection[int]:
    if entry.peers is None:
        return (ANY_IDENTITY,)
    return set().union(*(sets.get(name, frozenset()) for name in entry.peers))


def names_ports(entry: PolicyEntry) -> bool:
    """Whether any of its ports is given by name."""
    return any(port.name for port in entry.ports or ())


def _expand(flat: Flat, source: str, entry: PolicyEntry, targets: list[tuple[int, ports.Named]]) -> None:
    """One entry for each of its peers and ports; names are looked up per peer, numbers once."""
    named = names_ports(entry)
    found = [] if named else _matches(entry, {})
    for peer, names in targets:
        for match in _matches(entry, names) if named else found:
            _add(flat, peer, match, deny=entry.deny, source=source)


def _matches(entry: PolicyEntry, named: ports.Named) -> list[ports.Match]:
    if entry.ports is None:
        return [ports.EVERYTHING]
    return [match for port in entry.ports for match in ports.matches(port, named)]


def _add(flat: Flat, identity: int, match: ports.Match, *, deny: bool, source: str) -> None:
    """Deny beats allow, whatever object it comes from; equals are united."""
    key = (int(identity), match)
    known = flat.get(key)
    if known is None or (deny and not known.deny):
        flat[key] = Decision(deny, frozenset((source,)))
    elif known.deny == deny and source not in known.sources:
        flat[key] = Decision(deny, known.sources | {source})


def _without_hidden_denies(flat: Flat) -> Flat:
    """Without the allows that a wider deny of the same identity covers. Denies come first, as they are written."""
    denies = {key: decision for key, decision in flat.items() if decision.deny}
    if not denies:
        return flat
    allows = {
        key: decision
        for key, decision in flat.items()
        if not decision.deny and not any((key[0], match) in denies for match in ports.wider(key[1]))
    }
    return denies | allows
