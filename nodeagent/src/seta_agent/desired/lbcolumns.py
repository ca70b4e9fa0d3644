"""Rows of one map, gathered as columns, for many owners at once. Used by lb.

Addresses are kept as raw bytes and the rest as numbers; one array per batch then makes the entries of all of them,
because filling structured scalars one by one would cost 20 µs an entry.
"""

from collections.abc import Sequence

import numpy as np

from seta_agent.desired.encode import Array, Dtype, Entries, put_bytes, rows
from seta_agent.desired.lbids import Owner
from seta_agent.tables import IPAddress


class Columns:
    """`key`, `value`: fields of the numbers, "" where the whole is one number; `*_address`: the address's field."""

    def __init__(
        self, key: Sequence[str], value: Sequence[str], *, key_address: str = "", value_address: str = ""
    ) -> None:
        self._key, self._value = key, value
        self._key_address, self._value_address = key_address, value_address
        self._addresses: list[bytes] = []
        self._numbers: list[int] = []  # row after row
        self._starts: list[tuple[Owner, int]] = []  # owner, index of its first number

    def begin(self, owner: Owner) -> None:
        """What is added next is this owner's."""
        self._starts.append((owner, len(self._numbers)))

    def add(self, *numbers: int) -> None:
        self._numbers += numbers

    def add_at(self, address: IPAddress, *numbers: int) -> None:
        self._addresses.append(address.packed)
        self._numbers += numbers

    def entries(self, key: Dtype, value: Dtype) -> dict[Owner, Entries]:
        """Owner -> its entries."""
        width = len(self._key) + len(self._value)
        count = len(self._numbers) // width
        if not count:
            return {owner: {} for owner, _ in self._starts}
        table = np.array(self._numbers, np.int64).reshape(count, width)
        keys, values = np.zeros(count, key), np.zeros(count, value)
        _fill(keys, self._key, table, self._key_address, self._addresses)
        _fill(values, self._value, table[:, len(self._key) :], self._value_address, self._addresses)
        pairs = list(zip(rows(keys), rows(values), strict=True))
        bounds = [start // width for _, start in self._starts] + [count]
        return {owner: dict(pairs[bounds[i] : bounds[i + 1]]) for i, (owner, _) in enumerate(self._starts)}


def _fill(array: Array, fields: Sequence[str], table: Array, address: str, addresses: Sequence[bytes]) -> None:
    if address:
        put_bytes(array, address, b"".join(addresses))
    for column, field in enumerate(fields):
        if field:
            array[field] = table[:, column]
        else:
            array[...] = table[:, column]
