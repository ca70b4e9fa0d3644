"""A plain model of the datapath's policy lookup: what bpf/lib/policy.h does, without longest-prefix tries.

Used where a compiler is compared with the reference evaluator, and kept honest by tests/datapath/policy, which asks the
shipped programs the same questions. It reads the bytes that the agent's encoder makes, so that the encoder is compared
as well.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from seta_agent.bpf import btf
from seta_agent.desired.encode import Dtype

OBJECT = pathlib.Path(__file__).parents[2] / "nodeagent/src/seta_agent/objects/to_container.bpf.o"
STATIC_BITS = 40  # of a key's prefix: identity and direction
PROTOCOLS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPv6": 58, "SCTP": 132}  # name as in flows -> IP protocol
ANY = 0  # the identity of entries for every peer


@dataclasses.dataclass(frozen=True)
class Entry:
    """length: bits of the key that count. port: the first of the two bytes is the type, for ICMP."""

    identity: int
    egress: bool
    protocol: int
    port: int
    length: int
    deny: bool
    precedence: int
    cookie: int

    def matches(self, identity: int, protocol: int, port: int, *, egress: bool) -> bool:
        unused = 24 - (self.length - STATIC_BITS)  # of 8 bits of protocol and 16 of port
        return (self.identity, self.egress) == (identity, egress) and (self.protocol << 16 | self.port) >> unused == (
            protocol << 16 | port
        ) >> unused


@functools.cache
def layouts() -> tuple[Dtype, Dtype]:
    """Key and value of the map, from the shipped object."""
    types = btf.Btf(OBJECT)
    return types.dtype("policy_key"), types.dtype("policy_entry")


def read(encoded: Mapping[bytes, bytes]) -> list[Entry]:
    """The entries behind the bytes, as `desired.policymap.encode` makes them."""
    key, value = layouts()
    found = []
    for raw_key, raw_value in encoded.items():
        k, v = np.frombuffer(raw_key, key)[0], np.frombuffer(raw_value, value)[0]
        place = int(k["sec_label"]), bool(k["egress"]), int(k["protocol"]), int(k["dport"]), int(k["prefixlen"])
        found.append(Entry(*place, bool(v["deny"]), int(v["precedence"]), int(v["cookie"])))
    return found


def port_of(protocol: str, number: int) -> int:
    """What stands in the key's port for a flow's port or ICMP type."""
    return number << 8 if protocol.startswith("ICMP") else number


def decide(entries: Iterable[Entry], peer: int, protocol: int, port: int, *, egress: bool) -> Entry | None:
    """The entry that decides; None: none does, which is a drop."""
    entries = list(entries)
    of_peer, of_any = (
        max(
            (entry for entry in entries if entry.matches(identity, protocol, port, egress=egress)),
            key=lambda entry: entry.length,
            default=None,
        )
        for identity in (peer, ANY)
    )
    if of_peer is None or of_any is None:
        return of_peer or of_any
    if of_peer.precedence != of_any.precedence:
        return max(of_peer, of_any, key=lambda entry: entry.precedence)
    return of_any if of_any.deny and not of_peer.deny else of_peer


def allows(entries: Iterable[Entry], peer: int, protocol: int, port: int, *, egress: bool) -> bool:
    entry = decide(entries, peer, protocol, port, egress=egress)
    return entry is not None and not entry.deny
