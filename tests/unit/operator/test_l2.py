"""Who announces which Service: chosen, spread, kept, and taken over for each cause, never by two at once."""

from collections import Counter
from typing import Any

import pytest

from seta_crds import names
from seta_crds.selectors import Selector
from seta_operator.services.l2 import CALM, PACE
from tests.unit.operator.l2_world import DURATION, RETRY, World, world


async def test_one_holder_answers_and_its_lease_and_list_say_so() -> None:
    it = await world()
    (holder,) = it.holders().values()
    assert it.answering() == {"192.0.2.1": holder}
    assert it.lists() == {holder: [{"namespace": "ns", "name": "s000", "addresses": ["192.0.2.1"]}]}
    lease = it.bench.api.of(names.LEASE)["cilium-l2announce-ns-s000"]
    assert lease["metadata"]["namespace"] == "kube-system"
    spec = lease["spec"]
    assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (15, 0)
    assert spec["acquireTime"] == spec["renewTime"]


async def test_services_are_spread_evenly_and_stay_when_a_node_joins() -> None:
    it = await world("a", "b", services=20)
    assert sorted(Counter(it.holders().values()).values()) == [10, 10]
    before = it.holders()
    it.join("c")
    await it.pass_(3 * RETRY)
    assert it.holders() == before
    for n in range(100, 104):
        it.service(f"s{n}", f"192.0.2.{n}")
    await it.settle()
    assert Counter(it.holders().values())["c"] == 4, "it gets what comes"


async def test_what_a_dead_node_had_is_spread_over_the_others() -> None:
    it = await world(services=30)
    await it.pass_(DURATION + RETRY, dead="a")
    assert Counter(it.holders().values()) == {"b": 15, "c": 15}
    assert len(it.answering()) == 30


async def test_heartbeats_write_nothing_and_wake_nobody() -> None:
    it = await world(services=5)
    await it.pass_(RETRY)
    before = it.bench.writer.writes
    for _ in range(10):
        it.now += RETRY
        for agent in it.agents.values():
            agent.renew()
        it.watch()
        assert not it.subject._marked
    assert it.bench.writer.writes == before


async def test_a_silent_node_is_dead_after_the_lease_duration_and_not_before() -> None:
    it = await world()
    (holder,) = it.holders().values()
    await it.pass_(DURATION - 0.1, dead=holder)
    assert it.holders()["s000"] == holder
    assert it.answering() == {}, "it stopped by itself long ago"
    await it.pass_(0.2, dead=holder)
    assert it.holders()["s000"] != holder
    assert it.answering() == it.answering() | {"192.0.2.1": it.holders()["s000"]}
    assert it.bench.api.of(names.LEASE)["cilium-l2announce-ns-s000"]["spec"]["leaseTransitions"] == 1


def down(it: World, holder: str) -> None:
    it.agents[holder].devices = {"eth0": False}


def deleted(it: World, holder: str) -> None:
    it.agents[holder].devices = {}


def cordoned(it: World, holder: str) -> None:
    it.node(holder, cordoned=True, pool="lan")


def relabelled(it: World, holder: str) -> None:
    it.node(holder, pool="other")


def gone(it: World, holder: str) -> None:
    it.bench.gone(names.NODE, holder)


@pytest.mark.parametrize("cause", [down, deleted, cordoned, relabelled, gone], ids=lambda cause: cause.__name__)
async def test_another_node_takes_over_at_once_when_the_holder_may_no_more(cause: Any) -> None:
    it = World("a", "b", "c")
    for name in it.agents:
        it.node(name, pool="lan")
    it.policy(nodeSelector={"matchLabels": {"pool": "lan"}})
    it.service("web", "192.0.2.1")
    await it.up()
    holder = it.holders()["web"]
    cause(it, holder)
    it.agents[holder].renew()
    await it.settle()
    assert it.holders()["web"] not in ("", holder)
    assert it.answering() == {"192.0.2.1": it.holders()["web"]}


async def test_a_node_whose_kernel_refuses_its_list_loses_what_it_has_and_is_not_chosen() -> None:
    it = await world("a", "b", services=4)
    it.agents["a"].broken = True
    await it.pass_(DURATION)
    assert set(it.holders().values()) == {"b"}
    assert len(it.answering()) == 4
    it.agents["a"].broken = False
    await it.pass_(CALM + 2 * PACE)
    assert set(it.holders().values()) == {"a", "b"}


async def test_a_node_whose_kernel_refuses_its_list_stops_nobody_after_a_restart() -> None:
    it = await world("a", "b", services=4)
    it.agents["a"].broken = True
    it.agents["a"].silence()
    it.restart()
    await it.pass_(DURATION)
    assert set(it.answering().values()) == {"b"}
    assert len(it.answering()) == 4


async def test_edits_of_a_policy_move_and_end_what_they_concern() -> None:
    it = World("a", "b")
    it.node("a", pool="lan")
    it.policy(nodeSelector={"matchLabels": {"pool": "lan"}}, interfaces=["^eth"])
    it.service("web", "192.0.2.1", labels={"app": "web"}, externalIPs=["192.0.2.9"])
    await it.up()
    entry = {"namespace": "ns", "name": "web"}
    assert it.lists() == {"a": [{**entry, "addresses": ["192.0.2.1"], "interfaces": ["^eth"]}]}
    it.policy("more", nodeSelector={"matchLabels": {"pool": "lan"}}, loadBalancerIPs=False, externalIPs=True)
    await it.settle()
    assert it.answering() == {"192.0.2.1": "a", "192.0.2.9": "a"}
    it.bench.gone(names.L2_POLICY, "more")
    await it.settle()
    assert it.answering() == {"192.0.2.1": "a"}
    it.policy(nodeSelector={"matchExpressions": [{"key": "pool", "operator": "DoesNotExist"}]})
    await it.settle()
    assert it.answering() == {"192.0.2.1": "b"}
    it.policy(interfaces=["^wlan"])
    await it.settle()
    assert (it.answering(), it.holders(), it.lists()) == ({}, {}, {})
    it.policy(serviceSelector={"matchLabels": {"app": "db"}})
    await it.settle()
    assert it.holders() == {}
    it.bench.gone(names.L2_POLICY, "all")
    it.policy("other", serviceSelector={"matchLabels": {"app": "web"}})
    await it.settle()
    assert it.holders() == {"web": "a"} or it.holders() == {"web": "b"}


async def test_a_bad_policy_is_told_and_stops_no_other() -> None:
    it = await world()
    it.policy("bad", nodeSelector={"matchLabels": {"-": "x"}}, interfaces=["("])
    await it.settle()
    assert {kind: told[:2] for kind, told in it.conditions("bad").items()} == {
        "io.cilium/bad-node-selector": ("True", "error"),
        "io.cilium/bad-interface-regex": ("True", "error"),
    }
    assert (it.conditions(), list(it.holders())) == ({}, ["s000"])
    it.policy("bad", interfaces=["("])
    await it.settle()
    assert it.conditions("bad")["io.cilium/bad-node-selector"] == ("False", "error", "")


async def test_the_new_holder_waits_until_the_old_one_has_reported() -> None:
    it = await world()
    (holder,) = it.holders().values()
    it.node(holder, cordoned=True)
    await it.decide()
    assert it.lists() == {holder: []}, "taken off, and given to nobody yet"
    assert it.holders()["s000"] == holder
    it.agents[holder].renew()  # alive, and has not seen its list
    await it.decide()
    assert it.lists() == {holder: []}
    it.agents[holder].read()
    it.agents[holder].renew()
    await it.decide()
    assert [one["name"] for one in it.lists()[it.holders()["s000"]]] == ["s000"]
    assert holder not in it.lists(), "a node that announces nothing has no list"


async def test_a_node_that_comes_back_at_the_last_moment_keeps_others_waiting() -> None:
    it = await world("a", "b")
    (holder,) = it.holders().values()
    other = "b" if holder == "a" else "a"
    await it.pass_(DURATION - RETRY, dead=holder)
    it.now += RETRY
    it.agents[other].renew()
    it.watch()
    it.look()
    back = it.agents[holder]
    calls = it.bench.api.calls
    before = len(calls)

    def between(call: Any) -> None:
        if call == ("update", "NodeAnnouncements", holder) and call not in calls[before:-1]:
            back.deadline = it.now + 5  # its renewal overtook the write, and it answers with the old list
            back.renewing()

    it.bench.api.fail = between
    await it.decide()
    it.check()
    assert it.lists()[holder] == [], "what was decided on its silence was written"
    assert other not in it.lists(), "and not given away: its lease was read once more"
    await it.settle()
    assert it.answering() == {"192.0.2.1": other}


@pytest.mark.parametrize("kept", [True, False], ids=["keeps", "loses"])
async def test_external_traffic_policy_local_wants_a_ready_backend(*, kept: bool) -> None:
    it = World("a", "b", "c")
    it.policy()
    it.service("web", "192.0.2.1", externalTrafficPolicy="Local")
    it.backends("web", b={"ready": True}, c={"ready": False})
    await it.up()
    assert it.holders() == {"web": "b"}
    it.backends("web", b={"ready": kept}, c={"ready": True})
    await it.settle()
    assert it.holders() == {"web": "b" if kept else "c"}


async def test_a_backend_that_ends_but_serves_is_enough_while_there_is_no_other() -> None:
    it = World("a", "b")
    it.policy()
    it.service("web", "192.0.2.1", externalTrafficPolicy="Local")
    it.backends("web", a={"ready": False, "serving": True, "terminating": True}, b={"ready": False})
    await it.up()
    assert it.holders() == {"web": "a"}
    it.backends("web", a={"ready": False, "serving": False, "terminating": True})
    await it.settle()
    assert (it.holders(), it.answering()) == ({}, {})


async def test_a_backend_that_is_a_name_is_no_reason_to_announce_there() -> None:
    it = World("a", "b")
    it.policy()
    it.service("web", "192.0.2.1", externalTrafficPolicy="Local")
    it.backends("web", "FQDN", a={"ready": True})
    await it.up()
    assert it.holders() == {}


async def test_a_cordoned_node_announces_only_what_nobody_else_can() -> None:
    it = await world("a")
    it.node("a", cordoned=True)
    await it.settle()
    assert it.holders() == {"s000": "a"}


async def test_services_that_share_an_address_have_one_holder() -> None:
    it = World("a", "b", "c")
    it.policy()
    it.service("one", "192.0.2.1")
    it.service("two", "192.0.2.2")
    await it.up()
    assert it.holders()["one"] != it.holders()["two"]
    it.service("two", "192.0.2.2", "192.0.2.1")
    await it.settle()
    assert it.holders()["one"] == it.holders()["two"]
    assert it.answering().keys() == {"192.0.2.1", "192.0.2.2"}
    it.service("two", "192.0.2.2")
    await it.settle()
    assert it.holders()["one"] == it.holders()["two"], "and stay: that is no cause to move"


async def test_an_address_that_passes_to_another_service_waits_for_the_first_ones_holder() -> None:
    it = World("a", "b")
    it.policy()
    it.service("one", "192.0.2.1")
    it.service("two", "192.0.2.2")
    await it.up()
    old, new = it.holders()["one"], it.holders()["two"]
    it.bench.gone(names.SERVICE, "one", "ns")
    it.service("two", "192.0.2.2", "192.0.2.1")
    await it.decide()
    addresses = [address for one in it.lists()[new] for address in one["addresses"]]
    assert (addresses, it.lists()[old]) == (["192.0.2.2"], [])
    await it.settle()
    assert it.answering() == {"192.0.2.1": new, "192.0.2.2": new}


async def test_what_is_no_more_announced_is_taken_back() -> None:
    it = await world(services=2)
    it.service("s000", "192.0.2.1", loadBalancerClass="example.org/other")
    it.service("s001", type="ClusterIP")
    await it.settle()
    assert (it.holders(), it.lists(), it.answering()) == ({}, {}, {})


async def test_two_services_whose_names_come_to_one_lease() -> None:
    it = World("a")
    it.policy()
    for namespace, name, address in (("x", "y-z", "192.0.2.1"), ("x-y", "z", "192.0.2.2")):
        spec = {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]}
        status = {"loadBalancer": {"ingress": [{"ip": address}]}}
        it.bench.seen(names.SERVICE, name, namespace, spec=spec, status=status)
    await it.up()
    leases = {
        body["metadata"]["annotations"]["seta.dev/service"]: name
        for name, body in it.bench.api.of(names.LEASE).items()
        if name.startswith("cilium")
    }
    assert leases["x/y-z"] == "cilium-l2announce-x-y-z"
    assert leases["x-y/z"].startswith("cilium-l2announce-x-y-z-")
    it.restart()
    await it.pass_(RETRY)
    assert len(it.holders()) == 2
    it.bench.gone(names.SERVICE, "y-z", "x")
    await it.settle()
    assert it.bench.api.of(names.LEASE).keys() & leases.values() == {leases["x-y/z"]}


async def test_a_policy_that_announces_nothing_says_why() -> None:
    it = await world("a", "b")
    it.policy("shop", nodeSelector={"matchLabels": {"pool": "x"}}, serviceSelector={"matchLabels": {"app": "x"}})

    async def told() -> tuple[str, str, str]:
        await it.settle()
        return it.conditions("shop")["seta.dev/announces-nothing"]

    assert await told() == ("True", "error", "spec.nodeSelector selects no node: correct it, or label nodes so")
    it.node("a", pool="x")
    assert (await told())[2] == "no Service that spec.serviceSelector selects has a LoadBalancer address"
    it.service("s000", "192.0.2.1", labels={"app": "x"})
    assert await told() == ("False", "error", "")
    it.agents["a"].devices = {"eth0": False}
    it.agents["a"].renew()
    assert (await told())[2].startswith("no node that it selects has an interface that is up")
    it.service("s000", "192.0.2.1")
    assert (await told())[2].startswith("no Service")
    assert it.conditions() == {}


async def test_a_change_costs_what_it_concerns_however_many_nodes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    it = World(*(f"n{n:02}" for n in range(30)))
    for n in range(4):
        it.policy(f"p{n}", nodeSelector={"matchLabels": {"pool": "none"}})
    it.policy(serviceSelector={"matchLabels": {"app": "web"}})
    it.service("web", "192.0.2.1", labels={"app": "web"})
    await it.up()
    compared: list[Any] = []
    of_nodes = Selector.matches
    monkeypatch.setattr(Selector, "matches", lambda rule, labels: compared.append(labels) or of_nodes(rule, labels))

    async def compared_with_nodes() -> int:
        compared.clear()
        await it.settle()
        return len([labels for labels in compared if "k8s:io.kubernetes.service.name" not in labels])

    it.service("other", "192.0.2.2")
    assert await compared_with_nodes() == 0
    assert it.subject._announcer.is_calm()
    it.service("web", "192.0.2.1", "192.0.2.3", labels={"app": "web"})
    assert await compared_with_nodes() == 0
    it.node("n07", pool="lan")
    assert await compared_with_nodes() <= 5 + 5 * 30, "each rule with it, and whether each selects any node"
    it.policy("p1", nodeSelector={"matchLabels": {"pool": "lan"}})
    assert await compared_with_nodes() <= 2 * 30
