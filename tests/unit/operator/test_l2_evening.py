"""Announced services are evened out over the nodes: slowly, in quiet times, and only for a gain."""

from collections import Counter

from seta_operator.services.l2 import CALM, PACE
from tests.unit.operator.l2_world import RETRY, World, world


async def test_a_node_that_comes_late_gets_its_share_after_a_while_one_service_at_a_time() -> None:
    it = await world("a", "b", services=12)
    it.join("c")
    await it.pass_(CALM - RETRY)
    assert "c" not in it.holders().values()
    shares = []
    for _ in range(8):
        await it.pass_(PACE)
        shares.append(Counter(it.holders().values())["c"])
    assert shares[:4] == [1, 2, 3, 4]
    assert shares[-1] == 4
    assert Counter(it.holders().values()) == {"a": 4, "b": 4, "c": 4}


async def test_nothing_is_evened_out_that_would_not_be_more_even() -> None:
    it = await world("a", "b", "c", services=4)
    before = it.holders()
    await it.pass_(CALM + 3 * PACE)
    assert it.holders() == before


async def test_nothing_is_evened_out_while_something_happens() -> None:
    it = await world("a", "b", services=6)
    it.join("c")
    for n in range(8):
        await it.pass_(CALM / 4)
        it.policy(f"p{n}", loadBalancerIPs=False)
    assert "c" not in it.holders().values()


async def test_services_that_share_an_address_are_evened_out_together() -> None:
    it = World("a")
    it.policy()
    for n in range(4):
        it.service(f"s{n}", f"192.0.2.{n // 2}")
    await it.up()
    it.join("b")
    await it.pass_(CALM + 5 * PACE)
    found = it.holders()
    assert found["s0"] == found["s1"] != found["s2"] == found["s3"]
