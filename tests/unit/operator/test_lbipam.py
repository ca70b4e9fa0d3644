"""Around the cases: other writers of a Service's status, what is written when, and what a change costs."""

from typing import Any

import pytest

from seta_crds import names
from seta_crds.lbipam.addresses import Runs
from seta_operator.services import contests
from seta_operator.store import errors
from tests.unit.operator.fakes import Call
from tests.unit.operator.lbipam_world import World

FOREIGN = {"type": "cloud.example/Ready", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "t"}
POOL = {"blocks": [{"cidr": "10.0.0.0/29"}]}


async def given(*services: str) -> World:
    world = World()
    world.pool("blue", POOL)
    for name in services:
        world.service(name, {})
    await world.settle()
    return world


def overwrite(world: World, name: str, **status: Any) -> None:
    """As another controller would."""
    held = world.bench.api.objects[names.SERVICE, "default", name]
    body = {**held, "status": {**held["status"], **status}}
    meta = body.pop("metadata")
    body.pop("kind")
    world.bench.seen(names.SERVICE, name, "default", metadata=meta, **body)


async def test_conditions_of_others_stay_when_ours_comes_and_goes() -> None:
    world = World()
    world.service("web", {})
    overwrite_status = {"conditions": [FOREIGN]}
    world.bench.api.objects[names.SERVICE, "default", "web"]["status"] = {}
    overwrite(world, "web", **overwrite_status)
    world.pool("blue", POOL)
    await world.settle()
    assert world.status("web")["conditions"][0] == FOREIGN
    assert world.condition("web") is not None
    world.service("web", {"spec": {"type": "ClusterIP"}})
    await world.settle()
    assert world.status("web")["conditions"] == [FOREIGN]


async def test_the_transition_time_stays_while_the_status_does() -> None:
    world = World()
    world.pool("blue", {"blocks": [{"cidr": "10.0.0.0/32"}]})
    world.service("a", {})
    world.service("b", {})
    await world.settle()
    held = world.condition("b")
    assert held is not None
    conditions = [{**held, "lastTransitionTime": "2020-01-01T00:00:00Z"}]
    overwrite(world, "b", conditions=conditions)
    world.pool("green", {})
    await world.settle()
    told = world.condition("b")
    assert told is not None
    assert "green" in told["message"]
    assert told["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    world.service("a", None)
    await world.settle()
    assert (world.condition("b") or {})["lastTransitionTime"] > "2026"


async def test_a_status_that_another_changes_is_written_again_but_not_at_once() -> None:
    world = await given("web")
    before = world.writes
    overwrite(world, "web", loadBalancer={"ingress": [{"ip": "192.0.2.1"}]})
    assert await world.settle() == set()
    assert world.writes == before, "it waits"
    world.subject._contests._last.clear()  # its time has come
    world.subject.mark((names.SERVICE, ("default", "web")))
    await world.settle()
    assert world.addresses()["default/web"] == ["10.0.0.0"]


def test_waits_grow_up_to_a_limit_and_are_forgotten() -> None:
    now = 0.0
    woken: list[object] = []

    class Loop:
        @staticmethod
        def call_later(pause: float, *_: object) -> None:
            woken.append(round(pause, 1))

    held = contests.Contests(lambda _key: None, lambda: now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contests.asyncio, "get_running_loop", Loop)
        for _ in range(8):
            held.written(("default", "web"), "this")
            assert held.wait(("default", "web"), "this")
            assert not held.wait(("default", "web"), "that")
            held._waiting.clear()
            now += woken[-1]  # type: ignore[operator]
            assert not held.wait(("default", "web"), "this")
    assert woken == [0.2, 0.8, 3.2, 12.8, 51.2, 204.8, 300.0, 300.0]
    now += 601
    held.written(("default", "web"), "this")
    assert held._last["default", "web"].times == 1
    held.forget(("default", "web"))
    assert not held._last


async def test_a_status_is_written_only_for_the_version_that_was_seen() -> None:
    world = World()
    world.pool("blue", POOL)
    world.service("web", {})
    world.bench.api.put(  # the watch has not shown it yet
        names.SERVICE,
        {**world.bench.api.objects[names.SERVICE, "default", "web"], "spec": {"type": "ClusterIP", "ports": []}},
    )
    failed = await world.settle()
    assert failed == {(names.SERVICE, ("default", "web"))}
    assert world.status("web") == {}
    world.bench.cluster.seen(names.SERVICE, world.bench.api.objects[names.SERVICE, "default", "web"])
    world.subject.mark((names.SERVICE, ("default", "web")))
    assert await world.settle() == set()
    assert world.status("web") == {}


async def test_an_address_changes_hands_only_when_its_loser_is_written() -> None:
    world = World()
    world.pool("blue", {"blocks": [{"start": "10.0.0.1"}], "serviceSelector": {"matchLabels": {"a": "b"}}})
    world.service("old", {"labels": {"a": "b"}})
    await world.settle()

    def refuse(call: Call) -> errors.ApiError | None:
        return errors.UnavailableError("away") if call == ("patch", "Service", "old") else None

    world.bench.api.fail = refuse
    world.service("new", {"labels": {"a": "b"}})
    world.service("old", {})
    failed = await world.settle()
    assert {key[1] for _, key in failed} == {"old", "new"}
    assert world.addresses() == {"default/old": ["10.0.0.1"], "default/new": []}
    world.bench.api.fail = lambda _call: None
    for mark in failed:
        world.subject.mark(mark)
    assert await world.settle() == set()
    assert world.addresses() == {"default/old": [], "default/new": ["10.0.0.1"]}


async def test_a_restart_with_other_settings_strips_what_is_not_ours_any_more() -> None:
    world = await given("web")
    world.service("announced", {"spec": {"loadBalancerClass": "io.cilium/l2-announcer"}})
    world.service("cloud", {"ips": ["192.0.2.1"], "spec": {"loadBalancerClass": "cloud.example/lb"}})
    await world.settle()
    world._default = "none"
    await world.restarted()
    assert world.addresses() == {"default/web": [], "default/announced": ["10.0.0.1"], "default/cloud": ["192.0.2.1"]}
    assert world.condition("web") is None


async def test_one_change_costs_one_status_and_one_pool() -> None:
    world = await given(*(f"s{n}" for n in range(7)))
    world.bench.api.calls.clear()
    world.service("one", {})
    await world.settle()
    assert sorted(world.bench.api.calls) == [
        ("patch", "CiliumLoadBalancerIPPool", "blue"),
        ("patch", "Service", "one"),
    ]
    world.bench.api.calls.clear()
    world.service("one", {"labels": {"a": "b"}})
    world.service("two", {"spec": {"type": "ClusterIP"}})
    await world.settle()
    assert world.bench.api.calls == []


async def test_a_pool_whose_status_was_wiped_is_told_again() -> None:
    world = await given("web")
    held = world.bench.api.of(names.LOAD_BALANCER_IP_POOL)["blue"]
    world.bench.seen(names.LOAD_BALANCER_IP_POOL, "blue", metadata=held["metadata"], spec={**POOL, "disabled": False})
    await world.settle()
    assert world.pool_conditions("blue")["cilium.io/IPsUsed"]["message"] == "1"


async def test_a_pool_that_cannot_be_written_is_tried_again() -> None:
    world = World()
    world.pool("blue", POOL)
    world.bench.api.fail = lambda _call: errors.UnavailableError("away")
    assert await world.settle() == {(names.LOAD_BALANCER_IP_POOL, ("", "blue"))}


def test_runs_are_a_set_whose_gaps_are_found() -> None:
    runs = Runs()
    for number in (5, 3, 4, 9, 5, 7, 8):
        runs.add(number)
    assert (runs._first, runs._last) == ([3, 7], [5, 9])
    assert [runs.gap(n, 20) for n in (0, 3, 5, 6, 7, 10)] == [0, 6, 6, 6, 10, 10]
    assert runs.gap(3, 5) is None
    for number in (4, 7, 9, 9, 1):
        runs.discard(number)
    assert (runs._first, runs._last) == ([3, 5, 8], [3, 5, 8])
    assert [n for n in range(12) if n in runs] == [3, 5, 8]
