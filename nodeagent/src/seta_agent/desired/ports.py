"""Ports of policy entries as prefixes, which is what a longest-prefix map can match. Called by `desired.policy`.

A `Match` is (protocol, port, prefix length): the length counts as in the map's key, 40 bits of identity and direction,
8 of protocol, up to 16 of port.
"""

from collections.abc import Iterable, Mapping

from seta_agent.desired.encode import PROTOCOLS
from seta_agent.tables import PortMatch

STATIC_BITS, PROTOCOL_BITS, PORT_BITS = 40, 8, 16
ANY_PORT = STATIC_BITS + PROTOCOL_BITS  # prefix length of "this protocol, every port"
EXACT = ANY_PORT + PORT_BITS
WITH_PORTS = ("TCP", "UDP", "SCTP")  # what ANY stands for once a port is named
ICMP = ("ICMP", "ICMPV6")
EVERYTHING = (0, 0, STATIC_BITS)

Match = tuple[int, int, int]
Named = Mapping[tuple[str, str], Iterable[int]]  # (port name, protocol) -> numbers


def split_range(first: int, last: int) -> list[tuple[int, int]]:
    """The fewest prefixes that cover first..last: (port, number of leading bits that count)."""
    found = []
    while first <= last:
        size = first & -first or 1 << PORT_BITS  # the largest block that may start here
        while first + size - 1 > last:
            size >>= 1
        found.append((first, PORT_BITS - size.bit_length() + 1))
        first += size
    return found


def matches(port: PortMatch, named: Named) -> list[Match]:
    """What one port of a policy entry matches; a name that no pod has matches nothing."""
    protocols = WITH_PORTS if port.protocol == "ANY" and (port.port or port.name) else (port.protocol,)
    found: list[Match] = []
    for protocol in protocols:
        number = PROTOCOLS[protocol]
        if port.name:
            found += [(number, one, EXACT) for one in named.get((port.name, protocol), ())]
        elif protocol in ICMP:
            found.append((number, port.port << 8, ANY_PORT + 8))  # the type is the first byte
        elif port.port or port.end_port:
            last = port.end_port or port.port
            found += [(number, start, ANY_PORT + bits) for start, bits in split_range(port.port, last)]
        else:
            found.append((number, 0, ANY_PORT if number else STATIC_BITS))
    return found


def wider(match: Match) -> list[Match]:
    """Every prefix that covers this one, itself left out."""
    protocol, port, length = match
    found = [(protocol, port & -(1 << EXACT - bits) & 0xFFFF, bits) for bits in range(ANY_PORT, length)]
    return [*found, EVERYTHING] if length > STATIC_BITS else found
