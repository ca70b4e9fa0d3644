"""Whether a regular expression is found anywhere in a short text, in bounded time. Pure; used by interfaces.py.

Python's own search tries one way after the other, of which nested or many repetitions have more than anybody can wait
for; Go's does not. So Python is asked only for single characters and anchors. What these come to together is reckoned
with sets of places, so that each part of an expression begins at each place once.
"""

import functools
import re
from collections.abc import Set as AbstractSet

Ends = tuple[int, ...]  # for each place of the text: where a match that begins there may end, as bits
_GROUP = re.compile(r"\((?:\?(?:P<\w+>|([ims]*)(?:-([ims]+))?:))?", re.ASCII)
_FLAGS = re.compile(r"\(\?([ims]+)\)")
_REPEAT = re.compile(r"(?:([*+?])|\{(\d+)(,?)(\d*)\})\??", re.ASCII)
_PIECE = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\x..|\\.|.", re.DOTALL)
_TIMES = {"*": (0, None), "+": (1, None), "?": (0, 1)}


@functools.lru_cache(maxsize=65536)
def found(expression: str, text: str) -> bool:
    """`expression`: one that `re` compiles and interfaces.py does not refuse."""
    return any(_Search(expression, text).ends())


class _Search:
    """Reads an expression from left to right. Its methods return the ends of what they have read."""

    def __init__(self, expression: str, text: str) -> None:
        self._expression, self._text, self._place = expression, text, 0
        self._nothing: Ends = tuple(1 << start for start in range(len(text) + 1))

    def ends(self) -> Ends:
        flags = _FLAGS.match(self._expression)
        self._place = flags.end() if flags else 0
        return self._choice(frozenset(flags[1]) if flags else frozenset())

    def _choice(self, flags: AbstractSet[str]) -> Ends:
        ends = self._sequence(flags)
        while self._expression.startswith("|", self._place):
            self._place += 1
            ends = _either(ends, self._sequence(flags))
        return ends

    def _sequence(self, flags: AbstractSet[str]) -> Ends:
        ends = self._nothing
        while self._place < len(self._expression) and self._expression[self._place] not in "|)":
            ends = _then(ends, self._repeated(flags))
        return ends

    def _repeated(self, flags: AbstractSet[str]) -> Ends:
        ends = self._one(flags)
        times = _REPEAT.match(self._expression, self._place)
        if times is None:
            return ends
        self._place = times.end()
        sign, number, comma, last = times.groups()
        most = int(last) if last else None if comma else int(number or 0)
        low, high = _TIMES[sign] if sign else (int(number), most)
        needed = self._power(ends, low)
        return _then(needed, self._power(_either(self._nothing, ends), len(self._text) if high is None else high - low))

    def _one(self, flags: AbstractSet[str]) -> Ends:
        if (group := _GROUP.match(self._expression, self._place)) is not None:
            self._place = group.end()
            ends = self._choice((flags | set(group[1] or "")) - set(group[2] or ""))
            self._place += 1  # the closing parenthesis
            return ends
        piece = _PIECE.match(self._expression, self._place)
        assert piece is not None, "there is a character"  # noqa: S101 (for mypy)
        self._place = piece.end()
        letters = "".join(sorted(flags))
        pattern = re.compile(f"(?{letters}:{piece[0]})" if letters else piece[0], re.ASCII)
        matches = (pattern.match(self._text, start) for start in range(len(self._text) + 1))
        return tuple(1 << match.end() if match else 0 for match in matches)

    def _power(self, ends: Ends, times: int) -> Ends:
        """So many in a row. In more than the text has places one is empty, and further ones may be too."""
        times = min(times, len(self._text) + 1)
        result = self._nothing
        while times:
            if times & 1:
                result = _then(result, ends)
            ends, times = _then(ends, ends), times >> 1
        return result


def _either(one: Ends, other: Ends) -> Ends:
    return tuple(a | b for a, b in zip(one, other, strict=True))


def _then(first: Ends, second: Ends) -> Ends:
    result = []
    for ends in first:
        left, both = ends, 0
        while left:
            last = left.bit_length() - 1
            both |= second[last]
            left ^= 1 << last
        result.append(both)
    return tuple(result)
