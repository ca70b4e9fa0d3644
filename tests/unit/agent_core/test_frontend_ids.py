"""Reverse NAT indices that the node gives."""

import ipaddress

from seta_agent.desired import lbids

WEB, API = ("default", "web"), ("default", "api")


def front(port, address="192.168.1.1"):
    return ipaddress.ip_address(address), port, 6


def assign(ids, owner, *ports):
    wanted = frozenset(map(front, ports))
    given = ids.assign(owner, wanted)
    return {port: given.get(front(port)) for port in ports}


def test_they_lie_above_the_operators_and_stay():
    ids = lbids.FrontendIds()
    first = assign(ids, WEB, 80, 81)
    assert set(first.values()) == {60001, 60002}
    assert assign(ids, WEB, 80, 81, 82) == {**first, 82: 60003}


def test_what_two_have_is_kept_until_both_let_go():
    ids = lbids.FrontendIds()
    number = assign(ids, WEB, 80)[80]
    assert assign(ids, API, 80) == {80: number}
    assign(ids, WEB)
    assert assign(ids, API, 80) == {80: number}
    assign(ids, API)
    assert assign(ids, WEB, 80) != {80: number}, "a number rests"


def test_those_in_the_kernel_are_used_again_and_the_rest_forgotten():
    ids = lbids.FrontendIds()
    ids.restore({front(80): 60007, front(81): 60008, front(82): 60008, front(83): 17})
    assert assign(ids, WEB, 80) == {80: 60007}
    ids.prune()
    assert assign(ids, API, 81)[81] > 60008


def test_one_too_many_is_told_and_served_when_there_is_room(monkeypatch):
    monkeypatch.setattr(lbids, "LAST", 60002)
    ids = lbids.FrontendIds()
    assert set(assign(ids, WEB, 80, 81).values()) == {60001, 60002}
    assert assign(ids, API, 90) == {90: None}
    assert ids.lacking == {API}
    assign(ids, WEB, 80)
    assert assign(ids, API, 90)[90] is not None
    assert ids.lacking == set()


def test_numbers_wrap_around(monkeypatch):
    monkeypatch.setattr(lbids, "LAST", 60003)
    ids = lbids.FrontendIds()
    seen = set()
    for port in range(80, 86):
        seen |= set(assign(ids, WEB, port).values())
    assert seen == {60001, 60002, 60003}
