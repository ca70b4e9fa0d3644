"""cilium_policy_v2_<endpoint>: the policies that select an identity, flattened into entries of a longest-prefix map.

Called by the programmer once per identity (endpoints of one identity share the result). The map is asked twice, for
the peer's identity and for 0 (any), and each lookup finds the longest prefix only; between the two the higher
precedence decides. So denies have the higher precedence, and what lies within something stronger of the same identity
is left out: its longer prefix would hide that.
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
    """Who decides where several entries match. Stands in the map; equals of one key are united."""

    DEFAULT_ALLOW = 0
    YIELDING_DENY = 1
    ALLOW = 2
    DENY = 3


STRONGER = {  # precedence -> what it must not hide
    Precedence.YIELDING_DENY: frozenset({Precedence.ALLOW, Precedence.DENY}),
    Precedence.ALLOW: frozenset({Precedence.DENY}),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    precedence: Precedence
    sources: frozenset[str]  # of the policies whose entries these are

    @property
    def deny(self) -> bool:
        return self.precedence is Precedence.DENY or self.precedence is Precedence.YIELDING_DENY


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
    _add(flat, ReservedIdentity.HOST, ports.EVERYTHING, Precedence.ALLOW, LOCALHOST)
    return _finish(flat, rules, mode)


def egress(rules: Rules, mode: Mode, sets: Sets, destinations: Destinations) -> DirectionResult:
    """What may go out; named ports are those of the destinations' pods."""
    if not _enforced(rules, mode):
        return DirectionResult(enforced=False, entries={})
    flat: Flat = {}
    for source, entry in _entries(rules):
        peers = _peers(entry, sets)
        if entry.peers is None and names_ports(entry):  # numbers are for anybody, names for those who have them
            peers = (ANY_IDENTITY, *destinations)
        _expand(flat, source, entry, [(peer, destinations.get(peer, {})) for peer in peers])
    return _finish(flat, rules, mode)


def _enforced(rules: Rules, mode: Mode) -> bool:
    return mode == "always" or (mode == "default" and bool(rules))


def _finish(flat: Flat, rules: Rules, mode: Mode) -> DirectionResult:
    denying = frozenset(source for source, direction in rules if direction.default_deny)
    if denying or mode == "always":  # what is not allowed is denied, a deny that yields has nothing to add
        flat = {key: decision for key, decision in flat.items() if decision.precedence is not Precedence.YIELDING_DENY}
    else:  # rules that only add denies leave the rest open
        _add(flat, ANY_IDENTITY, ports.EVERYTHING, Precedence.DEFAULT_ALLOW, DEFAULT_ALLOW)
    return DirectionResult(enforced=True, entries=_hiding_nothing(flat), default_deny=denying)


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
    named, decision = names_ports(entry), Decision(precedence_of(entry), frozenset((source,)))
    found = [] if named else matches(entry, {})
    for peer, names in targets:
        for match in matches(entry, names) if named else found:
            key = (peer, match)
            if flat.setdefault(key, decision) is not decision:  # most keys are new: thousands per policy
                _unite(flat, key, decision)


def matches(entry: PolicyEntry, named: ports.Named) -> list[ports.Match]:
    if entry.ports is None:
        return [ports.EVERYTHING]
    return [match for port in entry.ports for match in ports.matches(port, named)]


def precedence_of(entry: PolicyEntry) -> Precedence:
    if entry.yields:
        return Precedence.YIELDING_DENY
    return Precedence.DENY if entry.deny else Precedence.ALLOW


def _add(flat: Flat, identity: int, match: ports.Match, precedence: Precedence, source: str) -> None:
    key, decision = (int(identity), match), Decision(precedence, frozenset((source,)))
    if flat.setdefault(key, decision) is not decision:
        _unite(flat, key, decision)


def _unite(flat: Flat, key: tuple[int, ports.Match], decision: Decision) -> None:
    """The stronger wins, whatever object it comes from; equals are united."""
    known = flat[key]
    if decision.precedence > known.precedence:
        flat[key] = decision
    elif known.precedence == decision.precedence and not decision.sources <= known.sources:
        flat[key] = Decision(known.precedence, known.sources | decision.sources)


def _hiding_nothing(flat: Flat) -> Flat:
    """Without what lies within something stronger of the same identity."""
    if not any(decision.deny for decision in flat.values()):
        return flat
    return {key: decision for key, decision in flat.items() if not _hides(flat, key, decision.precedence)}


def _hides(flat: Flat, key: tuple[int, ports.Match], precedence: Precedence) -> bool:
    stronger = STRONGER.get(precedence)
    if stronger is None:
        return False
    wider = (flat.get((key[0], match)) for match in ports.wider(key[1]))
    return any(found is not None and found.precedence in stronger for found in wider)
