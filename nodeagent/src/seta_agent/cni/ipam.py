"""Which address a new pod gets. Called by the endpoint store; pure.

The pod CIDR is this node's alone, so the endpoints are the whole state: an address is free when no endpoint has it.
Addresses are taken in a ring, so that a released one rests while others' connections to it end.
"""

import ipaddress
import itertools
from collections.abc import Container, Iterable, Sequence

IPv4 = ipaddress.IPv4Address
FIRST_POD = 2  # within a pod CIDR: 0 is the network, 1 the router


def usable(cidrs: Iterable[ipaddress.IPv4Network]) -> int:
    """How many pods the CIDRs have room for."""
    return sum(max(0, cidr.num_addresses - FIRST_POD - 1) for cidr in cidrs)


def next_address(cidrs: Sequence[ipaddress.IPv4Network], used: Container[IPv4], last: IPv4 | None) -> IPv4 | None:
    """The first free address after `last`, from the beginning again where there is none; None when all are taken."""
    begin = int(last) + 1 if last is not None else 0
    for low in (begin, 0):
        for cidr in cidrs:
            start = max(low, int(cidr.network_address) + FIRST_POD)
            for number in range(start, int(cidr.broadcast_address)):
                address = IPv4(number)
                if address not in used:
                    return address
    return None


def next_id(used: Container[int], last: int, highest: int = 65534) -> int | None:
    """The first free endpoint id after `last`, in a ring as well: ids name maps and appear in events."""
    ring = itertools.chain(range(last + 1, highest + 1), range(1, last + 1))
    return next((number for number in ring if number not in used), None)
