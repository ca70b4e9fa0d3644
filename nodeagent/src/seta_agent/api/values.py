"""Fields of map entries → what people read: addresses, ports, protocols, names. Called by the dumps; pure."""

import ipaddress
import socket
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
PROTOCOLS = {0: "ANY", 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
FAMILY_V6 = 2
SERVICE_TYPES = (  # flag of enum lb_flag -> type, the first that is set
    (0x1, "ExternalIPs"),
    (0x20, "LoadBalancer"),
    (0x2, "NodePort"),
    (0x8, "HostPort"),
    (0x100, "LocalRedirect"),
)
SOURCE_RANGE, ROUTABLE, DENY_OR_QUARANTINED = 0x80, 0x40, 0x4000
BEFORE_ROUTABLE = ((0x4, "Local"), (0x1000, "InternalLocal"), (0x2000, "two-scopes"), (0x10, "sessionAffinity"))
AFTER_RANGES = ((0x200, "46x64"), (0x400, "l7-load-balancer"), (0x800, "loopback"))
DSR = 0x8000
BACKEND_STATES = ("active", "terminating", "quarantined", "maintenance", "terminating-not-serving")


def protocol(number: int) -> str:
    return PROTOCOLS.get(number, str(number))


def address(raw: Any, family: int = 1) -> str:
    """A big-endian number, or a `union ip16` with its family."""
    if not hasattr(raw, "dtype") or raw.dtype.fields is None:
        return str(ipaddress.IPv4Address(int(raw)))
    content = raw.tobytes()
    return str(ipaddress.IPv6Address(content) if family == FAMILY_V6 else ipaddress.IPv4Address(content[:4]))


def mac(number: int) -> str:
    """A u64 whose first six bytes in memory are the address."""
    return int(number).to_bytes(8, "little")[:6].hex(":")


def endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def service_type(flags: int, slot: int = 0) -> str:
    """The field's string form of service flags: type, then traits in its order.

    Bit 0x4000 is two things: of slot 0 that the source ranges are refused, of a backend's slot that it is quarantined.
    """
    kind = next((name for bit, name in SERVICE_TYPES if flags & bit), "ClusterIP")
    traits = [name for bit, name in BEFORE_ROUTABLE if flags & bit]
    if not flags & ROUTABLE:
        traits.append("non-routable")
    if flags & SOURCE_RANGE:
        traits += ["check source-range", *(["deny"] if flags & DENY_OR_QUARANTINED and not slot else [])]
    traits += [name for bit, name in AFTER_RANGES if flags & bit]
    if flags & DENY_OR_QUARANTINED and slot:
        traits.append("quarantined")
    if flags & DSR:
        traits.append("dsr")
    return ", ".join([kind, *traits])


def summed(entries: Array) -> Array:
    """Values with one more axis, of CPUs → one value per entry."""
    total = np.zeros(len(entries), entries.dtype)
    for field in entries.dtype.names or ():
        total[field] = entries[field].sum(axis=1)
    return total


def ifname(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


ADDRESSES = frozenset({"ip", "ip4", "ip6", "address", "addr", "saddr", "daddr", "to_addr", "tunnel_endpoint"})
MACS = frozenset({"mac", "node_mac"})


def readable(entry: Any, family: int) -> Any:
    """A whole key or value: a number, hex digits where its layout is not known, or a dict without the padding.

    `family` 0: an address of 16 bytes is IPv6 as soon as more than the first four are used.
    """
    names = entry.dtype.names
    if names is None:
        return entry.tobytes().hex() if entry.dtype.kind == "V" else int(entry)
    return {name: _readable_field(name, entry[name], family) for name in names if not name.startswith("pad")}


def _readable_field(name: str, field: Any, family: int) -> Any:
    if name in MACS:
        return field.tobytes()[:6].hex(":")
    if name == "client_id" and field.dtype.fields:
        return address(field, FAMILY_V6)
    if name not in ADDRESSES:
        return readable(field, family) if field.dtype.names or field.dtype.kind != "V" else field.tobytes().hex()
    if field.dtype.fields is None:
        return address(field)
    return address(field, family or (FAMILY_V6 if any(field.tobytes()[4:]) else 1))
