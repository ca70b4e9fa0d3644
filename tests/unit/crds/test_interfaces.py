"""Interface expressions: what both dialects read alike is taken, the rest is refused with what to write instead."""

import re

import pytest

from seta_crds import interfaces


@pytest.mark.parametrize(
    ("expressions", "device", "found"),
    [
        ([], "ens5", True),
        (["ens"], "ens5", True),
        (["5"], "ens5", True),
        (["^ens[0-9]+$"], "ens5", True),
        (["^ens[0-9]+$"], "ens5.100", False),
        (["^eth", "^ens"], "ens5", True),
        (["^eth", "^bond"], "ens5", False),
        ([""], "ens5", True),
        ([r"^ens\d$"], "ens\u0665", False),
        (["(?i)^ENS"], "ens5", True),
        ([r"^vlan\.1{2,3}$"], "vlan.11", True),
    ],
)
def test_matches(*, expressions: list[str], device: str, found: bool) -> None:
    assert not any(map(interfaces.problem, expressions))
    assert interfaces.matches(expressions, device) is found


@pytest.mark.parametrize(
    "expression",
    [
        r"^(?:eth|ens)\d+$",
        "(?P<kind>eth|ens)[0-9]*?",
        "(?i:ETH)0",
        "(?s-i:e)",
        "[]a]",
        "[^]a-z_.-]",
        r"[\]\-\d]",
        "x{2}y{3,}z{1,1000}",
        "a{,b}",
        "{a}",
        r"\x65th\.",
        r"\Aeth\b",
        "a|",
    ],
)
def test_shared_by_both_dialects(expression: str) -> None:
    assert interfaces.problem(expression) == ""


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("eth(", "is no regular expression: missing ), unterminated subpattern"),
        ("*eth", "is no regular expression: nothing to repeat"),
        ("eth[", "is no regular expression: unterminated character set"),
        ("a**", "is no regular expression: multiple repeat"),
        ("(?=eth)", "has (?=e: write ( or (?: for a group"),
        ("(?!eth)", "has (?!e"),
        ("(?<!eth)", "has (?<!"),
        (r"(e)\1", r"has \1, which is not understood everywhere"),
        ("(?P<a>e)(?P=a)", "has (?P="),
        ("(e)?(?(1)a|b)", "has (?(1"),
        ("(?#why)eth", "has (?#w"),
        ("(?>eth)", "has (?>e"),
        ("(?<kind>eth)", "has (?<k"),
        ("(?x)eth", "has (?x)"),
        ("eth(?i)", "has (?i)"),
        ("(?U)eth", "has (?U)"),
        ("eth*+", "has *+, a possessive repetition: leave the second + out"),
        ("x{1,2}+", "has {1,2}+, a possessive"),
        (r"eth\Z", r"has \Z"),
        (r"eth\z", r"has \z"),
        (r"\Qa.b\E", r"has \Q"),
        (r"\pL", r"has \p"),
        (r"\u0065th", r"has \u"),
        (r"\0", r"has \0"),
        ("[[:alpha:]]", "has [ in a set: write \\["),
        ("[a[b]", "has [ in a set"),
        (r"[\b]", r"has \b"),
        ("[a--b]", "is no regular expression"),
        ("a{,5}", "has {,5}: give the least number of repetitions, as {0,5}"),
        ("a{1001}", "repeats more than 1000 times in {1001}"),
        ("a" * 257, "is longer than 256 characters"),
    ],
)
def test_refused_with_what_to_write_instead(expression: str, says: str) -> None:
    assert interfaces.problem(expression).startswith(says)


def test_an_agent_can_match_whatever_is_not_refused() -> None:
    for expression in (r"^(?:eth|ens)\d+$", "[]a]", "a{,b}"):
        re.compile(expression)
