"""A flattened policy as the bytes of cilium_policy_v2_<endpoint>, and the cookies that name policies in events.

Called by the programmer with the results of `desired.policy`.
"""

import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from seta_agent.desired import policy
from seta_agent.desired.encode import Dtype, Entries, entries

KEY_FIELDS = ("sec_label", "egress", "protocol", "dport", "prefixlen")
FIELDS = (*KEY_FIELDS, "deny", "precedence", "cookie")
COUNTERS = ("packets", "bytes")  # added to by the datapath, never compared


class Cookies:
    """Numbers for sets of policy names, 32 bits each; 0 is nobody.

    A number is a checksum of the names, so that a restarted agent gives the same ones and rewrites nothing. Two sets
    with one checksum: the later gets the next free number.
    """

    def __init__(self) -> None:
        self._names: dict[int, frozenset[str]] = {}  # cookie -> sources of policies
        self._numbers: dict[frozenset[str], int] = {}  # sources of policies -> cookie

    def number(self, sources: frozenset[str]) -> int:
        known = self._numbers.get(sources)
        if known is not None:
            return known
        number = zlib.crc32("\n".join(sorted(sources)).encode()) or 1
        while number in self._names:
            number = number % 0xFFFFFFFF + 1
        self._names[number] = sources
        self._numbers[sources] = number
        return number

    def names(self, number: int) -> tuple[str, ...]:
        """The policies behind a cookie: ("CiliumNetworkPolicy default/rule1",); empty for an unknown one."""
        return tuple(sorted(self._names.get(number, ())))


def encode(directions: Mapping[bool, policy.DirectionResult], cookies: Cookies, key: Dtype, value: Dtype) -> Entries:
    """The whole map of one endpoint; `directions` by egress. Denies come first, so that they are written first."""
    count = sum(len(result.entries) for result in directions.values())
    if not count:
        return {}
    told: dict[int, tuple[int, int, int]] = {}  # id of a decision, shared by many entries -> its fields
    numbers = np.fromiter(_numbers(directions, cookies, told), np.dtype((np.int64, len(FIELDS))), count)
    numbers = numbers[np.argsort(numbers[:, FIELDS.index("deny")] == 0, kind="stable")]
    keys, values = np.zeros(count, key), np.zeros(count, value)
    for column, field in enumerate(FIELDS):
        (keys if field in KEY_FIELDS else values)[field] = numbers[:, column]
    values["prefixlen"] = keys["prefixlen"]
    return entries(keys, values)


def _numbers(
    directions: Mapping[bool, policy.DirectionResult], cookies: Cookies, told: dict[int, tuple[int, int, int]]
) -> Iterator[tuple[int, ...]]:
    """FIELDS of each entry."""
    for egress, result in directions.items():
        for (identity, match), decision in result.entries.items():
            fields = told.get(id(decision))
            if fields is None:
                fields = (int(decision.deny), int(decision.precedence), cookies.number(decision.sources))
                told[id(decision)] = fields
            yield (identity, egress, *match, *fields)
