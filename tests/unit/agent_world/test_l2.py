"""When a node may answer for announced addresses, and what it tells others about that."""

import pytest

from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.kube import KubeError
from seta_agent.l2 import holder
from seta_crds import names
from tests.unit.agent_world.l2world import ENS5, ENS6, SECOND, AnnouncingNode, answer, service
from tests.unit.agent_world.world import NODE

WEB, API = service("web", "10.10.200.1"), service("api", "10.10.200.2")


@pytest.fixture
async def world():
    made = AnnouncingNode()
    made.server.announce(WEB, API)
    yield made
    made.holder.close()


async def test_the_heartbeat_is_a_lease_of_the_nodes_own(world):
    assert await world.beat()
    lease = world.server.leases[0]
    assert lease["path"] == f"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/seta-l2-node-{NODE}"
    assert lease["metadata"]["ownerReferences"] == [
        {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "name": NODE, "uid": "node-uid"}
    ]
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == (NODE, 15)
    assert lease["spec"]["renewTime"].endswith("Z")


def test_a_node_with_a_very_long_name_has_a_lease_too():
    assert len(names.node_lease_name("n" * 253)) <= 253
    assert names.node_lease_name("n" * 253) != names.node_lease_name("n" * 252 + "m")


async def test_answers_begin_once_renewed_listed_and_programmed(world):
    assert world.answers == set()
    assert await world.beat()
    assert world.server.asked == ["renew", "list"]
    assert world.answers == {answer(1), answer(2)}
    assert world.kernel.announced == [{answer(1), answer(2)}]


async def test_the_deadline_counts_from_the_start_of_the_request(world):
    world.server.takes = 1.0
    before = world.clock()
    assert await world.beat()
    assert world.kernel.deadline == before + 5 * SECOND


async def test_each_renewal_is_one_request_and_extends_the_deadline(world):
    await world.beat()
    for _ in range(10):
        world.later(2)
        assert await world.beat()
        assert world.kernel.deadline == world.clock() + 5 * SECOND
    assert world.server.asked == ["renew", "list"] + ["renew"] * 10
    assert len(world.kernel.announced) == 1


async def test_what_is_in_effect_is_told_with_the_next_renewal_which_is_due_at_once(world):
    await world.beat()
    assert world.server.told == {"uid": "", "released": 0, "interfaces": {"ens5": True}, "able": True}
    assert world.has_news
    await world.beat()
    assert world.server.told == {"uid": "u1", "released": 1, "interfaces": {"ens5": True}, "able": True}
    assert not world.has_news


async def test_an_address_is_released_only_when_the_maps_have_let_it_go(world):
    await world.beat()
    world.kernel.refuses = True
    world.server.announce(WEB, generation=2)
    await world.beat()
    assert world.server.told["released"] == 1
    assert world.holder.describe()["error"]
    world.kernel.refuses = False
    world.holder.links_changed()
    assert world.answers == {answer(1)}
    await world.beat()
    assert world.server.told["released"] == 2


async def test_announcements_made_anew_are_told_apart_from_those_before(world):
    await world.beat()
    world.server.announce(WEB, generation=1, uid="u2")
    await world.settled()
    await world.beat()
    assert world.server.told == {"uid": "u2", "released": 1, "interfaces": {"ens5": True}, "able": True}
    assert world.answers == {answer(1)}


async def test_without_a_renewal_answers_go_on_until_the_deadline_and_no_longer(world):
    await world.beat()
    world.server.down = True
    world.later(4.9)
    assert not await world.beat()
    assert world.answers == {answer(1), answer(2)}
    world.later(0.1)
    assert (world.answers, world.kernel.answers) == (set(), set())
    described = world.holder.describe()
    assert (described["holding"], described["services"]) == (False, [])
    assert described["error"] == "the heartbeat cannot be renewed: connection refused"


async def test_after_a_lapse_what_is_ours_is_listed_anew(world):
    await world.beat()
    world.server.down = True
    world.later(20)
    world.server.announce(API, generation=2, seen=False)  # the watch of before has not told it
    world.server.down = False
    assert await world.beat()
    assert world.server.asked[-2:] == ["renew", "list"]
    assert world.answers == {answer(2)}
    assert world.kernel.announced[-1] == {answer(2)}


async def test_an_answer_that_was_waited_for_too_long_allows_nothing(world):
    await world.beat()
    world.server.takes = 6.0
    assert not await world.beat()
    assert (world.answers, world.kernel.answers) == (set(), set())


async def test_an_agent_that_was_frozen_does_not_go_on_as_before(world):
    await world.beat()
    world.clock.turn(20)  # nobody called expire() meanwhile
    world.server.announce(API, generation=2, seen=False)
    assert await world.beat()
    assert world.answers == {answer(2)}


async def test_where_the_announcements_cannot_be_listed_nothing_is_answered(world, monkeypatch):
    monkeypatch.setattr(world.holder, "_lasts", round(0.01 * SECOND))

    async def refuse(path, params, *, cached):
        raise KubeError(500, "etcd is away")
        yield

    world.server.pages = refuse
    assert not await world.beat()
    assert world.kernel.deadline == 0
    assert world.holder.describe()["error"] == "what this node is to announce cannot be listed"


async def test_a_node_that_is_to_announce_nothing_lives_all_the_same(world):
    world.server.announced = None
    assert await world.beat()
    await world.beat()
    assert world.server.told == {"uid": "", "released": 0, "interfaces": {"ens5": True}, "able": True}
    assert world.answers == set()


async def test_a_device_that_goes_down_is_silent_and_told_at_once(world):
    await world.beat()
    await world.beat()
    world.link(ENS5, up=False)
    assert world.kernel.answers == set()
    assert world.has_news
    await world.beat()
    assert world.server.told["interfaces"] == {"ens5": False}
    world.link(ENS5)
    assert world.answers == {answer(1), answer(2)}
    assert world.kernel.announced[-1] == {answer(1), answer(2)}


async def test_the_state_of_devices_is_told_while_nothing_is_held(world):
    world.server.announced = None
    await world.beat()
    world.link(ENS5, up=False)
    await world.beat()
    assert world.server.told["interfaces"] == {"ens5": False}


@pytest.mark.parametrize(
    ("expressions", "devices"),
    [((), {2, 3}), (("ens5",), {2}), (("^ens[56]$",), {2, 3}), (("eth", "6"), {3}), (("s",), {2, 3}), (("[",), set())],
    ids=str,
)
async def test_expressions_match_anywhere_in_a_devices_name(world, expressions, devices):
    world.links = {"ens5": ENS5, "ens6": ENS6}
    world.server.announce(service("web", "10.10.200.1", interfaces=expressions))
    await world.beat()
    assert world.answers == {answer(1, index) for index in devices}


async def test_a_malformed_service_costs_the_others_nothing(world):
    world.server.announce(service("bad", "10.10.200.300"), {"name": "worse"}, WEB)
    await world.beat()
    assert world.answers == {answer(1)}


async def test_the_next_agent_goes_on_without_a_gap(world):
    await world.beat()
    world.later(3)
    await world.holder.last_beat()
    world.holder.close()
    assert world.kernel.deadline == world.clock() + 12 * SECOND  # of the 15 that the operator waits
    after = AnnouncingNode(world.clock, world.server, world.kernel)
    world.clock.turn(11)
    assert after.answers == {answer(1), answer(2)}
    world.server.announce(WEB, generation=2)
    assert await after.beat()
    assert world.server.told == {"uid": "", "released": 0, "interfaces": {"ens5": True}, "able": True}
    assert after.answers == {answer(1)}
    await after.beat()
    assert world.server.told["released"] == 2
    assert len(world.kernel.announced) == 1
    after.holder.close()


async def test_an_agent_that_ends_without_a_renewal_leaves_the_deadline_as_it_is(world):
    await world.beat()
    before = world.kernel.deadline
    world.server.down = True
    await world.holder.last_beat()
    assert world.kernel.deadline == before


async def test_an_agent_that_holds_nothing_ends_without_a_word(world):
    await world.holder.last_beat()
    assert world.server.asked == []


async def test_before_the_nodes_uid_is_known_nothing_is_written(world):
    row = world.nodes.get(NODE)
    world.nodes.delete(NODE)
    assert not await world.beat()
    assert world.server.asked == []
    world.nodes.set(NODE, row)
    assert await world.beat()


async def test_there_is_no_waiting_when_there_is_news(world, monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    await world.beat()
    monkeypatch.setattr(holder.asyncio, "sleep", sleep)
    await world.holder._pause(0.1, renewed=True)  # there is news: this returns
    assert pauses == [holder.GAP_SECONDS]


async def test_a_renewal_that_failed_is_tried_again_in_time_and_at_once_where_that_was_long_in_vain(world, monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(holder.asyncio, "sleep", sleep)
    await world.holder._pause(0.5, renewed=False)
    await world.holder._pause(2.5, renewed=False)
    assert pauses == [1.5, holder.GAP_SECONDS]


async def test_a_kernel_that_refuses_is_told_and_answers_for_nothing_any_more(world):
    await world.beat()
    world.kernel.refuses = True
    world.server.announce(WEB, generation=2)
    await world.settled()
    assert world.has_news
    assert not await world.beat()
    assert (world.server.told["able"], world.server.told["released"]) == (False, 1)
    assert world.answers == {answer(1), answer(2)}, "until its deadline"
    world.later(5)
    assert not await world.beat()
    assert (world.answers, world.kernel.deadline) == (set(), 0)
    assert not await world.beat()
    assert (world.server.told["able"], world.server.told["released"]) == (False, 2)


async def test_a_kernel_that_refused_is_not_trusted_at_once(world):
    world.kernel.refuses = True
    assert not await world.beat()
    world.kernel.refuses = False
    assert await world.beat()
    assert await world.beat()
    assert not world.server.told["able"]
    world.later(4)
    assert await world.beat()
    world.clock.turn(11)
    assert await world.beat()
    assert world.server.told["able"]
    assert world.answers == {answer(1), answer(2)}


async def test_a_deadline_that_the_kernel_does_not_take_is_told(world, monkeypatch):
    def refuse(nanoseconds):
        raise BpfError("writing the deadline", Reason.FULL)

    monkeypatch.setattr(world.kernel, "until", refuse)
    await world.beat()
    await world.beat()
    assert not world.server.told["able"]


async def test_a_node_that_can_report_nothing_falls_silent_and_tries_again_now_and_then(world, monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    world.kernel.refuses = True

    def refuse(nanoseconds):
        raise BpfError("writing the deadline", Reason.FULL)

    monkeypatch.setattr(world.kernel, "until", refuse)
    for _ in range(4):
        assert not await world.beat()
        with monkeypatch.context() as patched:
            patched.setattr(holder.asyncio, "sleep", sleep)
            await world.holder._pause(0.5, renewed=False)
    assert pauses == [1.5, 1.5, 30, 30]
    assert (world.server.told["able"], world.server.told["released"]) == (False, 0)
    world.kernel.refuses = False
    monkeypatch.undo()
    world.later(30)
    assert await world.beat()
    assert await world.beat()
    assert world.server.told["able"]
