"""Addresses in one spelling, so that two of them are one. Pure; used by frontends.py and backends.py."""

import functools
import ipaddress
from collections.abc import Iterable


def canonical(addresses: Iterable[str]) -> list[str]:
    """In their order; what is no address is left out."""
    return [found for found in map(address, addresses) if found]


@functools.lru_cache(maxsize=65536)
def address(text: str) -> str:
    """Old objects may have leading zeros, which the API server once read as decimals. Empty: it is no address."""
    plain = ".".join(part.lstrip("0") or "0" for part in text.split(".")) if ":" not in text else text
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        return ""
