"""Addresses as numbers, blocks of them, and sets of them kept as runs. Used by everything in this package."""

import bisect
import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple

BITS = {4: 32, 6: 128}  # family -> length of an address


class BlockError(ValueError):
    """A block that gives no addresses; the message says what is wrong with it."""


class Address(NamedTuple):
    """One address; IPv4 sorts before IPv6."""

    family: int  # 4 or 6
    number: int

    @property
    def text(self) -> str:
        """As it stands in a Service's status."""
        made = ipaddress.IPv4Address if self.family == 4 else ipaddress.IPv6Address
        return str(made(self.number))


def parse(text: str) -> Address | None:
    """The address that is written there; None: it is none."""
    try:
        found = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return None if "%" in text else Address(found.version, int(found))


class Block(NamedTuple):
    """Some addresses in a row, all of one family."""

    text: str  # as the user wrote it
    family: int
    first: int
    last: int
    gives_first: int  # of these, what may be given
    gives_last: int


def block(raw: Mapping[str, Any], *, first_and_last: bool) -> Block:
    """A block of a pool's spec; `first_and_last`: whether those of a cidr are given.

    Raises:
        BlockError: it is none.

    """
    cidr, start, stop = (raw.get(name) or "" for name in ("cidr", "start", "stop"))
    if bool(cidr) == bool(start):
        raise BlockError("has both a cidr and a start" if cidr else "is empty: write a cidr, or a start and a stop")
    return _of_cidr(cidr, first_and_last=first_and_last) if cidr else _of_ends(start, stop or start)


def _of_cidr(cidr: str, *, first_and_last: bool) -> Block:
    try:
        network = ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise BlockError(f'"{cidr}" is no range of addresses') from None
    first, last = int(network.network_address), int(network.broadcast_address)
    kept_back = int(not first_and_last and last - first > 1)
    return Block(cidr, network.version, first, last, first + kept_back, last - kept_back)


def _of_ends(start: str, stop: str) -> Block:
    ends = [parse(text) for text in (start, stop)]
    for text, end in zip((start, stop), ends, strict=True):
        if end is None:
            raise BlockError(f'"{text}" is no address')
    first, last = (end for end in ends if end is not None)
    if first.family != last.family:
        raise BlockError(f"{start} and {stop} are not of one family")
    if last < first:
        raise BlockError(f"stop {stop} lies before start {start}")
    text = start if first == last else f"{start} - {stop}"
    return Block(text, first.family, first.number, last.number, first.number, last.number)


class Runs:
    """A set of numbers, kept as runs without gaps: the first free number after any other is one search away.

    Ten thousand addresses in a row are one run, so neither time nor memory grows with the ranges they are in.
    """

    def __init__(self) -> None:
        self._first: list[int] = []  # of each run, ascending
        self._last: list[int] = []

    def __contains__(self, number: int) -> bool:
        at = bisect.bisect_right(self._first, number) - 1
        return at >= 0 and number <= self._last[at]

    def add(self, number: int) -> None:
        """Put a number in; it may be in already."""
        at = bisect.bisect_right(self._first, number)
        if at and number <= self._last[at - 1]:
            return
        before = at > 0 and self._last[at - 1] == number - 1
        after = at < len(self._first) and self._first[at] == number + 1
        if before and after:
            self._last[at - 1] = self._last[at]
            del self._first[at], self._last[at]
        elif before:
            self._last[at - 1] = number
        elif after:
            self._first[at] = number
        else:
            self._first.insert(at, number)
            self._last.insert(at, number)

    def discard(self, number: int) -> None:
        """Take a number out; it may be out already."""
        at = bisect.bisect_right(self._first, number) - 1
        if at < 0 or number > self._last[at]:
            return
        first, last = self._first[at], self._last[at]
        del self._first[at], self._last[at]
        if number < last:
            self._first.insert(at, number + 1)
            self._last.insert(at, last)
        if first < number:
            self._first.insert(at, first)
            self._last.insert(at, number - 1)

    def gap(self, first: int, last: int) -> int | None:
        """The lowest number from first to last that is not in the set."""
        at = bisect.bisect_right(self._first, first) - 1
        found = self._last[at] + 1 if at >= 0 and first <= self._last[at] else first
        return found if found <= last else None
