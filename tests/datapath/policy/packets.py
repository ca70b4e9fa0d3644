"""The first packets of connections, quickly: a property-based test sends tens of thousands.

Each has a source port (ICMP: an identifier) of its own, so that none belongs to a connection before it.
"""

import ipaddress
import itertools
import struct

from tests.datapath import language

ETHERNET = bytes(12) + b"\x08\x00"
SYN = 2
_fresh = itertools.cycle(range(1024, 61000))


def first(source: str, destination: str, protocol: int, number: int) -> bytes:
    """The frame. Names or addresses as in `language`; number: destination port, or type of ICMP."""
    body = _body(protocol, number, next(_fresh))
    ends = b"".join(ipaddress.IPv4Address(language.address(name)).packed for name in (source, destination))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0) + ends
    return ETHERNET + head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + body


def _body(protocol: int, number: int, fresh: int) -> bytes:
    if protocol == 1:
        return struct.pack("!BBHHH", number, 0, 0, fresh, 1) + bytes(8)
    if protocol == 6:
        return struct.pack("!HHIIBBHHH", fresh, number, 1, 0, 5 << 4, SYN, 65535, 0, 0)
    if protocol == 17:
        return struct.pack("!HHHH", fresh, number, 16, 0) + bytes(8)
    return struct.pack("!HHII", fresh, number, 0, 0) + struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)  # SCTP


def _checksum(head: bytes) -> int:
    total = sum(struct.unpack("!10H", head))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
