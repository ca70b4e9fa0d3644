"""Bytes of map entries: the few conversions that every desired state shares. Called by its neighbours only.

Entries are Python `bytes`, because the reconciler compares and hashes them; they are cut from one array per batch,
because filling structured scalars one by one would cost 20 µs an entry.
"""

import ipaddress
from typing import Any

import numpy as np

from seta_agent.tables import IPAddress

Dtype = np.dtype[Any]
Array = np.ndarray[Any, np.dtype[Any]]
Entries = dict[bytes, bytes]  # key -> value, both as the kernel has them

FAMILY = {4: 1, 6: 2}  # IP version -> family number in the maps
PROTOCOLS = {"ANY": 0, "ICMP": 1, "TCP": 6, "UDP": 17, "ICMPV6": 58, "SCTP": 132}  # name -> IP protocol


def ip16(address: IPAddress | None) -> bytes:
    """`union ip16`: 16 bytes, IPv4 in the first four; zeros for None."""
    return address.packed.ljust(16, b"\0") if address else bytes(16)


def ip_of(raw: bytes, family: int) -> IPAddress:
    """The address in a `union ip16`."""
    return ipaddress.IPv6Address(raw) if family == FAMILY[6] else ipaddress.IPv4Address(raw[:4])


def mac_number(text: str) -> int:
    """A MAC as the u64 whose first six bytes in memory are the address."""
    return int.from_bytes(bytes.fromhex(text.replace(":", "")), "little")


def mac_text(number: int) -> str:
    return number.to_bytes(8, "little")[:6].hex(":")


def field_of(dtype: Dtype, name: str) -> tuple[Dtype, int]:
    """One field of a struct: its layout and its offset in bytes."""
    if dtype.fields is None:
        raise TypeError(f"{dtype} has no field {name}")
    return dtype.fields[name][0], dtype.fields[name][1]


def put_bytes(array: Array, field: str, raw: bytes) -> None:
    """Write raw bytes into one field of every row; `raw` holds them row after row (addresses of either family)."""
    dtype, offset = field_of(array.dtype, field)
    cells = array.view(np.uint8).reshape(len(array), array.dtype.itemsize)
    cells[:, offset : offset + dtype.itemsize] = np.frombuffer(raw, np.uint8).reshape(len(array), dtype.itemsize)


def rows(array: Array) -> list[bytes]:
    """One `bytes` per row."""
    raw, size = array.tobytes(), array.dtype.itemsize
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def entries(keys: Array, values: Array) -> Entries:
    return dict(zip(rows(keys), rows(values), strict=True))
