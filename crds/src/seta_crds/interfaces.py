"""Interface expressions of CiliumL2AnnouncementPolicies: which are understood, and which devices they mean.

Users write regular expressions of Go, and nodes match with Python's, which are another dialect. So what the two read
differently, or only one of them can read, is refused with its reason, and whatever is left means the same to both.
Called by the operator (to judge policies, to choose nodes) and by agents (to choose devices). Pure, nothing heavy.
"""

import re
import warnings
from collections.abc import Iterable

from seta_crds import boundedsearch

LONGEST = 256  # characters of one expression
MOST_REPEATS = 1000  # Go's own limit
_FLAGS = re.compile(r"\(\?[ims]+\)")
_GROUP = re.compile(r"\((?:\?(?:[ims]*(?:-[ims]+)?:|P<[A-Za-z_]\w*>))?(?!\?)", re.ASCII)
_ESCAPE = re.compile(r"\\(?:[dDsSwWafnrtv]|x[0-9A-Fa-f]{2}|[^A-Za-z0-9])", re.ASCII)
_ANCHOR = re.compile(r"\\[AbB]")
_REPEAT = re.compile(r"\{(\d*),?(\d*)\}")
_POSSESSIVE = re.compile(r"(?:[*+?]|\{\d+(?:,\d*)?\})\+")


def problem(expression: str) -> str:
    """Why an expression is not understood, and what to write instead; empty where it is."""
    if len(expression) > LONGEST:
        return f"is longer than {LONGEST} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(expression, re.ASCII)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        return _foreign(expression) or f"is no regular expression: {error}"
    return _foreign(expression)


def matches(expressions: Iterable[str], device: str) -> bool:
    """Whether one of them is found anywhere in the device's name; none at all mean every device."""
    wanted = list(expressions)
    return not wanted or any(boundedsearch.found(one, device) for one in wanted)


def _foreign(expression: str) -> str:
    """What Go and Python do not both understand, or not alike."""
    place = found.end() if (found := _FLAGS.match(expression)) else 0
    while place < len(expression):
        if expression[place] == "[":
            place, wrong = _skip_set(expression, place)
        else:
            place, wrong = _skip_one(expression, place)
        if wrong:
            return wrong
    return ""


def _skip_one(text: str, place: int) -> tuple[int, str]:
    """The end of what begins here outside of a set, and what is wrong with it."""
    if found := _POSSESSIVE.match(text, place):
        return place, f"has {found[0]}, a possessive repetition: leave the second + out"
    match text[place]:
        case "\\":
            found = _ESCAPE.match(text, place) or _ANCHOR.match(text, place)
            return (found.end(), "") if found else (place, _escape(text[place : place + 2]))
        case "(":
            found = _GROUP.match(text, place)
            wrong = (
                f"has {text[place : place + 4]}: write ( or (?: for a group; flags go first, and nothing looks around"
            )
            return (found.end(), "") if found else (place, wrong)
        case "{" if found := _REPEAT.match(text, place):
            first, last = found[1], found[2]
            if not first:
                return place, f"has {found[0]}: give the least number of repetitions, as {{0,{last}}}"
            if max(int(first), int(last or 0)) > MOST_REPEATS:
                return place, f"repeats more than {MOST_REPEATS} times in {found[0]}"
            return found.end(), ""
    return place + 1, ""


def _skip_set(text: str, start: int) -> tuple[int, str]:
    """The end of a set [...], and what is wrong with it."""
    place = start + 1 + text.startswith("^", start + 1)
    place += text.startswith("]", place)  # the first one is meant as itself
    while place < len(text) and text[place] != "]":
        if text[place] == "[":
            return place, "has [ in a set: write \\[ for the character, and \\d, \\s or \\w or a range for a class"
        if text[place] == "\\":
            found = _ESCAPE.match(text, place)
            if found is None:
                return place, _escape(text[place : place + 2])
            place = found.end()
        else:
            place += 1
    return place + 1, ""


def _escape(text: str) -> str:
    return f"has {text}, which is not understood everywhere: ends are ^ and $, classes are \\d, \\s and \\w"
