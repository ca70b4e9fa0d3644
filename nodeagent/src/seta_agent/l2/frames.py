"""The frames that tell a network who has an address now: gratuitous ARP, and the unsolicited neighbour advertisement.

Pure; called by the herald. The same words as the datapath's answers (bpf/lib/l2.h), but to everybody and unasked.
"""

import struct

BROADCAST = b"\xff" * 6
ALL_NODES_MAC, ALL_NODES = bytes.fromhex("333300000001"), bytes.fromhex("ff02" + "00" * 13 + "01")
ETH_ARP, ETH_IPV6, ICMPV6 = 0x0806, 0x86DD, 58
REQUEST, REPLY = 1, 2
ADVERTISEMENT, OVERRIDE, TARGET_LL_ADDR, HOP_LIMIT = 136, 0x20000000, 2, 255


def announcements(address: bytes, mac: bytes) -> list[bytes]:
    """All frames for one address. For IPv4 in both forms: some equipment heeds the one, some the other."""
    if len(address) == 16:
        return [advertisement(address, mac)]
    return [gratuitous_arp(address, mac, REQUEST), gratuitous_arp(address, mac, REPLY)]


def gratuitous_arp(address: bytes, mac: bytes, operation: int) -> bytes:
    target = bytes(6) if operation == REQUEST else BROADCAST
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return BROADCAST + mac + struct.pack("!H", ETH_ARP) + head + mac + address + target + address


def advertisement(address: bytes, mac: bytes) -> bytes:
    """RFC 4861, 7.2.6: not solicited, overrides what neighbours know."""
    body = struct.pack("!BBHI", ADVERTISEMENT, 0, 0, OVERRIDE) + address + bytes((TARGET_LL_ADDR, 1)) + mac
    pseudo = address + ALL_NODES + struct.pack("!II", len(body), ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), ICMPV6, HOP_LIMIT) + address + ALL_NODES
    return ALL_NODES_MAC + mac + struct.pack("!H", ETH_IPV6) + header + body


def checksum(data: bytes) -> int:
    """Of the internet, over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def solicited_node(address: bytes) -> bytes:
    """The group to which neighbours send their question for an IPv6 address."""
    return bytes.fromhex("ff02" + "00" * 9 + "01ff") + address[-3:]
