"""Heartbeats in; who lives, and what is news."""

import json
from typing import Any

import pytest

from seta_operator.services import l2_liveness
from seta_operator.services.l2_liveness import Liveness, News, State


def text(released: int = 0, **up: bool) -> str:
    return json.dumps({"uid": "u", "released": released, "interfaces": up or {"eth0": True}})


def begun(*nodes: str) -> Liveness:
    """At 100, with leases that were listed."""
    it = Liveness(duration=15, deadline=5)
    for node in nodes:
        it.seen(node, 1, text(), 99)
    it.begin(100)
    return it


def test_a_node_that_is_not_able_lives_and_has_no_device_to_announce_on() -> None:
    it = begun("a")
    it.seen("a", 2, text(), 101)
    unable = json.dumps({"uid": "u", "released": 3, "interfaces": {"eth0": True}, "able": False})
    assert it.seen("a", 3, unable, 103) == News.NODE
    assert it.state("a") == State("u", 3, frozenset(), able=False)
    assert (it.fresh("a", 104), it.dead("a")) == (True, False)


def test_what_a_heartbeat_means() -> None:
    it = begun("a")
    assert not it.fresh("a", 100), "listed is not renewed"
    assert it.seen("a", 2, text(), 101) == News.NODE
    assert it.fresh("a", 106)
    assert it.seen("a", 3, text(), 103) == News.NOTHING
    assert it.seen("a", 4, text(released=2), 105) == News.REPORT
    assert it.state("a") == State("u", 2, frozenset({"eth0"}))
    assert it.seen("a", 5, text(2, eth0=False), 107) == News.NODE
    assert it.seen("a", 6, text(2, eth0=False), 113) == News.NODE, "it had been silent past the deadline"
    assert it.seen("a", 5, text(9), 114) == News.NOTHING, "old news"
    assert it.state("a").released == 2


def test_silence_counts_from_what_was_seen_last() -> None:
    it = begun("a", "b")
    it.seen("a", 2, text(), 110)
    assert it.silent(114.9) == []
    assert it.next_silence(114.9) == pytest.approx(0.1)
    assert it.silent(115) == ["b"]
    it.bury("b")
    assert (it.silent(115), it.dead("b"), it.fresh("b", 115)) == ([], True, False)
    assert it.next_silence(115) == 10
    assert it.seen("b", 2, text(), 116) == News.NODE
    assert not it.dead("b")


def test_what_could_not_be_seen_does_not_count() -> None:
    it = begun("a", "b")
    it.seen("a", 2, text(), 108)
    it.lost(110)
    assert it.silent(1000) == []
    it.seen("b", 2, text(), 1000)
    it.found(1000)
    assert not it.fresh("b", 1000), "when it renewed, in all that time, nobody knows"
    assert it.silent(1014.9) == []
    assert it.silent(1015) == ["a", "b"]


def test_an_absent_lease_is_no_sign_of_death_and_none_of_life() -> None:
    it = begun("a")
    it.expect("ghost", 100)
    it.seen("a", 2, text(), 110)
    it.gone("a")
    assert not it.fresh("a", 111)
    assert it.state("a").up == {"eth0"}
    assert it.silent(115) == ["ghost"]
    assert it.silent(124.9) == ["ghost"]
    assert it.silent(125) == ["a", "ghost"], "it has been silent since 110, not since the deletion"
    it.bury("ghost")
    it.forget("ghost")
    it.forget("a")
    assert (it.knows("ghost"), it.knows("a")) == (False, True)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"released": "x"}', '{"interfaces": ["eth0"]}', '{"interfaces": {"eth0": 1}}']
)
def test_a_heartbeat_that_cannot_be_read_says_nothing(text: str) -> None:
    assert l2_liveness.parse(text) == State()


@pytest.mark.parametrize("extra", [{}, {"more": 1}])
def test_further_keys_are_ignored(extra: dict[str, Any]) -> None:
    told = {"uid": "u", "released": 3, "interfaces": {"a": True, "b": False}, **extra}
    assert l2_liveness.parse(json.dumps(told)) == State("u", 3, frozenset({"a"}))
