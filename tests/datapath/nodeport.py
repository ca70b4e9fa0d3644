"""Services in a lab, and what became of a packet to one of them, in the fewest words."""

import functools
from collections.abc import Iterator
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet

from tests.datapath import datapath, language
from tests.datapath.lab import Lab, Outcome
from tests.datapath.lb_maps import LbMaps

ROUTABLE, NODEPORT, LOADBALANCER, CLUSTER = 0x40, 0x42, 0x60, 0x0
EXT_LOCAL, TWO_SCOPES, SOURCE_RANGE, DSR = 0x4, 0x2000, 0x80, 0x8000
AFFINITY, MAGLEV_SIZE = 0x10, 16381  # the size that the objects have where the agent says none
SERVICE, IN = 4, 1  # enum ct_tuple_flag
SERVICE_MAPS = (
    "cilium_lb4_services_v2",
    "cilium_lb4_backends_v3",
    "cilium_lb4_reverse_nat",
    "cilium_lb4_source_range",
    "cilium_lb4_affinity",
    "cilium_lb_affinity_match",
)
MARK_SERVICE, MARK_TUNNEL = 0xB00, 0xA00


@functools.cache
def maps_of(lab: Lab) -> LbMaps:
    """One for all tests with the lab, so that no two backends have the same number."""
    return LbMaps(lab.maps)


def serve(lab: Lab, front: str, *backends: str, flags: int = NODEPORT, rev_nat: int = 7, scope: int = 0) -> list[int]:
    """`node tcp 30080` from `A 8080`, `R 8080`: the backends' numbers."""
    where, protocol, port = front.split()
    there = [(language.address(name), int(to)) for name, to in (backend.split() for backend in backends)]
    at = "0.0.0.0" if where == "any" else language.address(where)
    return maps_of(lab).service(at, int(port), protocol, there, flags=flags, rev_nat=rev_nat, scope=scope)


def no_services(lab: Lab) -> Iterator[Lab]:
    """For fixtures: the lab with no service before, and none left after."""
    yield lab
    for name in SERVICE_MAPS:
        datapath.empty(lab.maps[name])


def way(packet: Packet) -> str:
    """`W:40000 > A:8080`, by the names that the lab's world has."""
    names = {address: name for name, address in language.WORLD.items()}
    ip = packet[IP]
    l4 = next((packet[kind] for kind in (TCP, UDP, SCTP) if kind in packet), None)
    ports = (f":{l4.sport}", f":{l4.dport}") if l4 else ("", "")
    return f"{names.get(ip.src, ip.src)}{ports[0]} > {names.get(ip.dst, ip.dst)}{ports[1]}"


def sound(packet: Packet) -> bool:
    """Whether every checksum is what it would be if computed anew."""
    if SCTP in packet and not sctp_sound(bytes(packet[IP])):
        return False
    again = packet[IP].copy()
    for layer in (IP, TCP, UDP, ICMP):
        if layer in again:
            del again[layer].chksum
    return bytes(IP(bytes(again))) == bytes(packet[IP])


def sctp_sound(datagram: bytes) -> bool:
    """RFC 9260, appendix A: over all of the packet, with 0 in the checksum's place; its lowest byte goes first."""
    data = datagram[(datagram[0] & 15) * 4 : int.from_bytes(datagram[2:4], "big")]
    return crc32c(data[:8] + bytes(4) + data[12:]) == int.from_bytes(data[8:12], "little")


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def frame(datagram: Packet) -> bytes:
    return bytes(Ether(dst=language.GATEWAY_MAC) / datagram)


def answer(seen: Packet, **fields: Any) -> bytes:
    """What its receiver says to a packet."""
    kind = next(kind for kind in (TCP, UDP, SCTP) if kind in seen)
    flags = {"flags": "SA"} | fields if kind is TCP else {}
    l4 = kind(sport=seen[kind].dport, dport=seen[kind].sport, **flags)
    return frame(IP(src=seen[IP].dst, dst=seen[IP].src) / l4 / (b"" if kind is TCP else b"answered"))


def error_about(packet: Packet, sender: str, receiver: str, mtu: int = 1400) -> bytes:
    """Fragmentation needed."""
    quoted = bytes(packet[IP])[:28]
    ip = IP(src=language.address(sender), dst=language.address(receiver))
    return frame(ip / ICMP(type=3, code=4, nexthopmtu=mtu) / quoted)


def tracked(lab: Lab, flags: int) -> list[Any]:
    """Connection entries with these key flags, of both tables."""
    found = [*lab.entries("cilium_ct4_global"), *lab.entries("cilium_ct_any4_global")]
    return [value for key, value in found if key["flags"] == flags]


def ended_at(outcome: Outcome) -> tuple[str, str]:
    return outcome.says, way(outcome.packet)
