"""Selectors: one canonical text whatever the spelling, and what matches."""

import hashlib

import pytest

from seta_crds import selectors
from seta_crds.selectors import SelectorError, requirement

POD = {"k8s:app": "web", "k8s:tier": "", "k8s:host": "a"}
HOST = {"reserved:host": ""}


@pytest.mark.parametrize(
    ("requirements", "text"),
    [
        ([], "*"),
        ([("app", "In", ["web"])], "any:app=web"),
        ([("k8s:app", "In", ["web", "web"])], "k8s:app=web"),
        ([("app", "In", ["b", "a"])], "any:app in (a,b)"),
        ([("app", "NotIn", ["b"])], "any:app notin (b)"),
        ([("b", "Exists", []), ("a", "DoesNotExist", [])], "!any:a,any:b"),
        ([("any:a", "Exists", []), ("a", "Exists", ())], "any:a"),
        ([("reserved:host", "In", [""])], "reserved:host="),
        ([("example.org/a.b", "In", ["c_d.e"])], "any:example.org/a.b=c_d.e"),
    ],
)
def test_canonical_text(requirements: list[tuple[str, str, list[str]]], text: str) -> None:
    forwards = selectors.selector(requirement(*one) for one in requirements)
    backwards = selectors.selector(requirement(*one) for one in reversed(requirements))
    assert forwards.text == backwards.text == text
    assert forwards.set_name == backwards.set_name


def test_the_sets_name_is_made_of_the_text() -> None:
    found = selectors.selector([requirement("app", "In", ["web"])])
    assert found.set_name == f"ss-{hashlib.sha256(b'any:app=web').hexdigest()[:16]}"


@pytest.mark.parametrize(
    ("key", "operator", "values", "pod", "host"),
    [
        ("app", "In", ["web"], True, False),
        ("app", "In", ["db", "web"], True, False),
        ("app", "In", ["db"], False, False),
        ("app", "NotIn", ["db"], True, True),
        ("app", "NotIn", ["web"], False, True),
        ("app", "Exists", [], True, False),
        ("app", "DoesNotExist", [], False, True),
        ("tier", "In", [""], True, False),
        ("tier", "Exists", [], True, False),
        ("k8s:app", "In", ["web"], True, False),
        ("reserved:app", "In", ["web"], False, False),
        ("any:host", "Exists", [], True, True),
        ("reserved:host", "In", [""], False, True),
        ("k8s:host", "DoesNotExist", [], False, True),
    ],
)
def test_matching(*, key: str, operator: str, values: list[str], pod: bool, host: bool) -> None:
    found = selectors.selector([requirement(key, operator, values)])
    assert (found.matches(POD), found.matches(HOST)) == (pod, host)


def test_nothing_asked_matches_everything_and_all_must_hold() -> None:
    assert selectors.selector([]).matches({})
    both = selectors.selector([requirement("app", "In", ["web"]), requirement("other", "Exists")])
    assert not both.matches(POD)


@pytest.mark.parametrize(
    ("key", "operator", "values", "sentence"),
    [
        ("cow:app", "Exists", [], 'label source "cow" in "cow:app" is unknown'),
        ("a b", "Exists", [], '"a b" is no label key'),
        ("", "Exists", [], '"" is no label key'),
        ("any:", "Exists", [], '"any:" is no label key'),
        ("/a", "Exists", [], '"/a" is no label key'),
        ("app", "Like", ["a"], 'operator "Like" is unknown'),
        ("app", "In", [], 'operator In on "app" wants at least one value'),
        ("app", "Exists", ["a"], 'operator Exists on "app" wants no values'),
        ("app", "In", ["a,b"], '"a,b" is no label value'),
        ("app", "In", ["x" * 64], "is no label value"),
    ],
)
def test_what_cannot_be_meant_is_named(key: str, operator: str, values: list[str], sentence: str) -> None:
    with pytest.raises(SelectorError) as refused:
        requirement(key, operator, values)
    assert sentence in str(refused.value)
