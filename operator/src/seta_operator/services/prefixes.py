"""Address ranges as numbers: fast to compare, thousands at a time. Pure; used by universe, selectorsets, lasting."""

import ipaddress
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

BITS = {4: 32, 6: 128}  # IP version -> bits of an address


class Prefix(NamedTuple):
    """One range: `address` has no bits set behind `length`."""

    version: int
    address: int
    length: int

    @property
    def text(self) -> str:
        """10.0.0.0/8."""
        address = ipaddress.IPv4Address(self.address) if self.version == 4 else ipaddress.IPv6Address(self.address)
        return f"{address}/{self.length}"

    def holds(self, other: "Prefix") -> bool:
        """Whether the other range lies inside this one."""
        shift = BITS[self.version] - self.length
        return (
            self.version == other.version
            and self.length <= other.length
            and self.address >> shift == other.address >> shift
        )

    def around(self) -> Iterator["Prefix"]:
        """Every range that this one lies in, itself included."""
        for length in range(self.length + 1):
            shift = BITS[self.version] - length
            yield Prefix(self.version, self.address >> shift << shift, length)


@lru_cache(maxsize=65536)
def parse(text: str) -> Prefix | None:
    """A range or a single address; None where it is neither (what refers to it has told so)."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return Prefix(network.version, int(network.network_address), network.prefixlen)


class Range(NamedTuple):
    """A range with holes."""

    prefix: Prefix
    excepts: tuple[Prefix, ...] = ()

    def holds(self, other: Prefix) -> bool:
        """Whether the other one lies inside, and in no hole."""
        return self.prefix.holds(other) and not any(hole.holds(other) for hole in self.excepts)
