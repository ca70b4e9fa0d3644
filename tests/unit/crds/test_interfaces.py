"""Interface expressions: what both dialects read alike is taken, the rest is refused with what to write instead."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    "expression",
    [
        "(.?){40}x",
        "^(([a-z0-9]+)*)+!$",
        "(((a?){1000}){1000}){1000}x",
        ".*" * 100 + "x",
        "a?" * 100 + "x",
        "(a|a)" * 40,
    ],
)
def test_no_expression_takes_long(expression: str) -> None:
    assert interfaces.problem(expression) == ""
    begin = time.process_time()
    assert not interfaces.matches([expression], "a" * 15)
    assert time.process_time() - begin < 1


CHARACTERS = st.sampled_from(
    ["a", "b", "B", "0", ".", "[ab]", "[^a]", "[]a]", r"\d", r"\W", r"\x61", r"\.", "^", "$", r"\b"]
)
TIMES = st.sampled_from(["", "", "*", "+", "?", "*?", "{2}", "{1,}", "{0,2}", "{1,3}?"])
GROUPS = st.sampled_from(["({})", "(?:{})", "(?P<x>{})", "(?i:{})", "(?s-i:{})"])
EXPRESSIONS = st.recursive(
    CHARACTERS,
    lambda some: st.one_of(
        st.builds("{}{}".format, some, some),
        st.builds("{}|{}".format, some, some),
        st.builds(lambda group, one, times: group.format(one) + times, GROUPS, some, TIMES),
        st.builds(lambda one, times: f"(?:{one}){times}", CHARACTERS, TIMES),
    ),
    max_leaves=6,
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(["", "(?i)", "(?im)"]), EXPRESSIONS, st.text("abB0.", max_size=6))
def test_what_is_found_is_what_python_finds(flags: str, expression: str, device: str) -> None:
    try:
        python = re.compile(flags + expression, re.ASCII)
    except re.error:  # two groups of one name, a repeated anchor
        return
    assert interfaces.matches([flags + expression], device) is bool(python.search(device))


def test_an_agent_can_match_whatever_is_not_refused() -> None:
    for expression in (r"^(?:eth|ens)\d+$", "[]a]", "a{,b}"):
        re.compile(expression)
