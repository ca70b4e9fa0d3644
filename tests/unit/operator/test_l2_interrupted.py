"""Announcements over restarts and outages, and where others write what is the operator's: nobody moves without need."""

from typing import Any

from seta_crds import names
from seta_operator.services.l2 import ANYBODY
from seta_operator.services.l2_off import L2Off
from seta_operator.store import errors
from tests.unit.operator.fakes import settle
from tests.unit.operator.l2_world import DEADLINE, DURATION, RETRY, World, world


async def test_a_restart_moves_and_writes_nothing() -> None:
    it = await world(services=9)
    await it.pass_(RETRY)
    before, calls = it.holders(), len(it.bench.api.calls)
    it.restart()
    await it.pass_(2 * DURATION)
    assert it.holders() == before
    assert [call for call in it.bench.api.calls[calls:] if call[0] != "get"] == []


async def test_after_a_restart_nobody_is_dead_before_a_lease_duration() -> None:
    it = await world("a", "b")
    (holder,) = it.holders().values()
    await it.pass_(DURATION - RETRY, dead=holder)
    it.restart()
    await it.pass_(DURATION - 0.1, dead=holder)
    assert it.holders()["s000"] == holder
    await it.pass_(0.2, dead=holder)
    assert it.holders()["s000"] != holder


async def test_after_a_restart_in_a_hand_over_the_address_waits_still() -> None:
    it = await world("a", "b")
    (holder,) = it.holders().values()
    it.node(holder, cordoned=True)
    await it.decide()
    assert it.lists() == {holder: []}
    it.restart()
    await it.decide()
    other = "b" if holder == "a" else "a"
    it.agents[other].renew()
    await it.decide()
    assert other not in it.lists(), "the first one may still answer: nobody has heard that it does not"
    await it.pass_(RETRY)
    assert it.holders() == {"s000": other}


async def test_what_the_operator_could_not_watch_does_not_count() -> None:
    it = await world()
    before = it.holders()
    it.subject.lost()
    it.now += 100
    it.look()
    await it.decide()
    it.subject.found()
    it.look()
    await it.decide()
    assert it.holders() == before
    await it.pass_(DURATION)
    assert it.holders() == before


async def test_an_api_server_that_does_not_answer_makes_nobody_dead() -> None:
    it = await world()
    before = it.holders()
    it.refuse("get", "update", "create", "delete")
    it.now += DURATION + 1
    it.look()
    await it.decide()
    it.refuse()
    it.look()
    await it.decide()
    assert it.holders() == before, "the silence was the API server's"
    await it.pass_(DURATION)
    assert it.holders() == before


async def test_a_write_whose_answer_was_lost_counts_as_done() -> None:
    it = World("a", "b")
    it.policy()
    await it.up()
    it.service("web", "192.0.2.1")
    api, create = it.bench.api, it.bench.api.create

    async def lost(kind: Any, body: Any) -> Any:
        await create(kind, body)
        raise errors.UnavailableError("timeout")

    api.create = lost  # type: ignore[method-assign]
    await it.decide(rounds=1)
    (first,) = it.lists()
    it.agents[first].read()
    assert it.answering() == {"192.0.2.1": first}
    api.create = create  # type: ignore[method-assign]
    it.node(first, cordoned=True)
    await it.decide()
    it.check()
    assert it.lists()[first] == []
    await it.settle()
    assert set(it.answering().values()) == {"a", "b"} - {first}


async def test_a_lease_or_a_list_that_somebody_deletes_or_edits_is_written_again() -> None:
    it = await world("a", "b")
    (holder,) = it.holders().values()
    api = it.bench.api
    del api.objects[names.LEASE, "kube-system", "cilium-l2announce-ns-s000"]
    del api.objects[names.NODE_ANNOUNCEMENTS, "", holder]
    await it.settle()
    assert (it.holders(), it.answering()) == ({"s000": holder}, {"192.0.2.1": holder})
    body = api.objects[names.LEASE, "kube-system", "cilium-l2announce-ns-s000"]
    api.put(names.LEASE, {**body, "spec": {**body["spec"], "holderIdentity": "me"}})
    body = api.objects[names.NODE_ANNOUNCEMENTS, "", holder]
    api.put(names.NODE_ANNOUNCEMENTS, {**body, "spec": {**body["spec"], "services": []}})
    await it.settle()
    assert (it.holders(), it.answering()) == ({"s000": holder}, {"192.0.2.1": holder})


async def test_what_somebody_else_put_into_a_list_is_not_given_to_others_while_it_may_be_in_effect() -> None:
    it = World("a", "b")
    it.policy()
    it.service("one", "192.0.2.1")
    it.service("two", "192.0.2.2")
    await it.up()
    a, b = it.holders()["one"], it.holders()["two"]
    body = it.bench.api.objects[names.NODE_ANNOUNCEMENTS, "", b]
    more = {"namespace": "x", "name": "y", "addresses": ["192.0.2.7"]}
    it.bench.api.put(names.NODE_ANNOUNCEMENTS, {**body, "spec": {**body["spec"], "services": [more]}})
    it.agents[b].read()
    it.service("one", "192.0.2.1", "192.0.2.7")
    await it.decide()
    assert [one["addresses"] for one in it.lists()[a]] == [["192.0.2.1"]]
    assert [one["addresses"] for one in it.lists()[b]] == [["192.0.2.2"]]
    await it.settle()
    assert it.answering() == {"192.0.2.1": a, "192.0.2.7": a, "192.0.2.2": b}


async def test_switched_off_lists_and_leases_are_deleted() -> None:
    it = await world(services=3)
    foreign = {"namespace": "kube-system", "name": "somebody-elses"}
    it.bench.api.put(names.LEASE, {"kind": "Lease", "metadata": foreign, "spec": {}})
    off = L2Off(it.bench.cluster, it.bench.writer, "kube-system")
    off.start()
    it.refuse("delete")
    assert await settle(off, rounds=2) == {"kube-system"}, "and it is tried again"
    it.refuse()
    off.start()
    assert await settle(off) == set()
    assert (it.lists(), it.holders()) == ({}, {})
    assert "somebody-elses" in it.bench.api.of(names.LEASE)


async def test_after_a_start_the_first_node_heard_of_does_not_get_everything() -> None:
    it = World("a", "b", "c")
    it.policy()
    for n in range(9):
        it.service(f"s{n}", f"192.0.2.{n}")
    for agent in it.agents.values():
        agent.renew()
    it.watch()
    it.subject.listen()
    it.subject.start()
    for name in ("a", "b"):
        it.now += 0.5
        it.agents[name].renew()
        await it.decide()
        assert it.lists() == {}
    it.agents["c"].renew()
    await it.decide()
    assert {name: len(found) for name, found in it.lists().items()} == {"a": 3, "b": 3, "c": 3}


async def test_who_is_not_heard_of_after_a_start_is_waited_for_until_the_deadline() -> None:
    it = World("a", "b")
    it.policy()
    it.service("web", "192.0.2.1")
    for agent in it.agents.values():
        agent.renew()
    it.watch()
    it.subject.listen()
    it.subject.start()
    await it.pass_(DEADLINE - 0.1, dead="b")
    assert it.holders() == {}
    it.now += 0.2
    it.subject.mark(ANYBODY)
    await it.settle()
    assert it.holders() == {"web": "a"}


async def test_a_list_that_is_deleted_while_no_operator_looks_may_be_in_effect_still() -> None:
    it = await world("a", "b")
    (holder,) = it.holders().values()
    other = "b" if holder == "a" else "a"
    del it.bench.api.objects[names.NODE_ANNOUNCEMENTS, "", holder]
    it.node(holder, cordoned=True)
    it.restart()
    for agent in it.agents.values():
        agent.renew()
    await it.decide()
    assert (it.answering(), it.lists()) == ({"192.0.2.1": holder}, {holder: []})
    await it.settle()
    assert it.answering() == {"192.0.2.1": other}
    assert it.lists().keys() == {other}
