"""Several operators, one Lease: at most one may write at any time, and there is one again soon after it ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seta_crds import names
from seta_operator.store import errors, leadership
from seta_operator.store.leadership import DEADLINE, DURATION, RETRY, Leadership, LostError
from tests.unit.operator.fakes import Bench, FakeApi


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def operator(api: FakeApi, clock: Clock, name: str) -> Leadership:
    return Leadership(api, "kube-system", name, clock)  # type: ignore[arg-type]  # quacks


def lease(api: FakeApi) -> dict[str, object]:
    return api.objects[names.LEASE, "kube-system", leadership.NAME]["spec"]


async def test_the_first_leads_and_the_second_stands_by(api: FakeApi, clock: Clock) -> None:
    one, two = operator(api, clock, "a"), operator(api, clock, "b")
    await one.attempt()
    await two.attempt()
    assert (one.may_write(), two.may_write()) == (True, False)
    assert (one.won.is_set(), two.won.is_set()) == (True, False)
    assert (lease(api)["holderIdentity"], lease(api)["leaseTransitions"]) == ("a", 0)


async def test_one_that_renews_goes_on(api: FakeApi, clock: Clock) -> None:
    one, two = operator(api, clock, "a"), operator(api, clock, "b")
    for _ in range(20):
        await one.attempt()
        await two.attempt()
        clock.now += RETRY
        assert (one.may_write(), two.may_write()) == (True, False)


async def test_one_that_is_silent_writes_no_more_before_another_begins(api: FakeApi, clock: Clock) -> None:
    one, two = operator(api, clock, "a"), operator(api, clock, "b")
    await one.attempt()
    await two.attempt()
    clock.now += DEADLINE
    assert not one.may_write()
    clock.now += DURATION - DEADLINE - 0.1
    await two.attempt()
    assert not two.may_write()
    clock.now += 0.1
    await two.attempt()
    assert two.may_write()
    assert (lease(api)["holderIdentity"], lease(api)["leaseTransitions"]) == ("b", 1)
    with pytest.raises(LostError, match="b leads now"):
        await one.attempt()


async def test_a_new_process_goes_on_where_its_predecessor_was_killed(api: FakeApi, clock: Clock) -> None:
    await operator(api, clock, "a").attempt()
    again = operator(api, clock, "a")
    await again.attempt()
    assert again.may_write()


async def test_a_clean_end_is_waited_for_by_nobody(api: FakeApi, clock: Clock) -> None:
    one, two = operator(api, clock, "a"), operator(api, clock, "b")
    await one.attempt()
    await two.attempt()
    await one.resign()
    assert not one.may_write()
    await two.attempt()
    assert two.may_write()
    await one.resign()
    assert two.may_write(), "who does not lead has nothing to give back"


async def test_an_outage_is_survived_where_nobody_took_over(api: FakeApi, clock: Clock) -> None:
    one = operator(api, clock, "a")
    await one.attempt()
    api.fail = lambda _call: errors.UnavailableError("down")
    clock.now += 100
    with pytest.raises(errors.UnavailableError):
        await one.attempt()
    await one.resign()
    assert not one.may_write()
    api.fail = lambda _call: None
    await one.attempt()
    assert one.may_write()


async def test_the_writer_asks_nothing_of_the_api_server_while_it_may_not(api: FakeApi, clock: Clock) -> None:
    bench, one = Bench(), operator(api, clock, "a")
    bench.api.may_write = one.may_write
    wanted = {("", "ss-1"): {"metadata": {}, "spec": {"selector": "*", "identities": [1]}}}
    assert await bench.writer.ensure(names.SELECTOR_SET, wanted) == wanted.keys()
    assert not await bench.writer.status(names.CILIUM_NODE, ("", "w1"), {})
    assert bench.api.calls == []
    await one.attempt()
    assert await bench.writer.ensure(names.SELECTOR_SET, wanted) == set()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, DURATION), st.booleans()), max_size=60))
async def test_never_two(steps: list[tuple[str, float, bool]]) -> None:
    """Whoever asks when, and whether the API server then answers."""
    api, clock = FakeApi(), Clock()
    every = {name: operator(api, clock, name) for name in "abc"}
    for name, seconds, answered in steps:
        api.fail = (lambda _call: None) if answered else (lambda _call: errors.UnavailableError("down"))
        try:
            await every[name].attempt()
        except errors.UnavailableError:
            pass
        except LostError:
            every[name] = operator(api, clock, name)
        assert sum(one.may_write() for one in every.values()) <= 1
        clock.now += seconds
        assert sum(one.may_write() for one in every.values()) <= 1
