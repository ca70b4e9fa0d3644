"""Tables, the writer and the sweep: the newer version wins, the difference is written, ghosts go."""

import asyncio

import pytest

from seta_crds import names
from seta_operator.store import errors, sweep
from seta_operator.store.table import Table
from tests.unit.operator.fakes import Bench

SET = {"metadata": {}, "spec": {"selector": "*", "identities": [1]}}
KEY = ("", "ss-1")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_older_version_changes_nothing() -> None:
    table: Table[str] = Table()
    assert table.put(KEY, 5, "new")
    assert not table.put(KEY, 4, "old")
    assert not table.put(KEY, 6, "new"), "same value: nobody needs to know"
    assert table.get(KEY) == "new"
    assert not table.remove(KEY, 5), "deleted before what is held was written"
    assert table.remove(KEY, 7)
    assert (len(table), KEY in table, table.version(KEY)) == (0, False, None)


def test_listeners_hear_changes_and_only_those(bench: Bench) -> None:
    heard: list[tuple[object, object]] = []
    bench.cluster.listen(names.NAMESPACE, lambda _key, before, after: heard.append((before, after)))
    bench.seen(names.NAMESPACE, "a", metadata={"labels": {"x": "1"}})
    bench.seen(names.NAMESPACE, "a", metadata={"labels": {"x": "1"}, "annotations": {"unrelated": "y"}})
    bench.gone(names.NAMESPACE, "a")
    bench.gone(names.NAMESPACE, "a")
    assert heard == [(None, {"x": "1"}), ({"x": "1"}, None)]


async def test_created_replaced_deleted_and_left_alone(bench: Bench) -> None:
    for content in (SET, SET, {**SET, "spec": {"selector": "*", "identities": []}}, None, None):
        assert await bench.writer.ensure(names.SELECTOR_SET, {KEY: content}) == set()
    assert [verb for verb, _, _ in bench.api.calls] == ["create", "update", "delete"]
    assert bench.writer.writes == 3


async def test_an_object_the_table_does_not_know_is_read_and_replaced(bench: Bench) -> None:
    bench.api.put(names.SELECTOR_SET, {"metadata": {"name": "ss-1"}, "spec": {"identities": [9]}})
    assert await bench.writer.ensure(names.SELECTOR_SET, {KEY: SET}) == set()
    assert [verb for verb, _, _ in bench.api.calls] == ["create", "get", "update"]
    assert bench.api.of(names.SELECTOR_SET)["ss-1"]["spec"] == SET["spec"]


async def test_an_object_that_went_unseen_is_created_again(bench: Bench) -> None:
    bench.seen(names.SELECTOR_SET, "ss-1", spec={"selector": "old", "identities": []})
    del bench.api.objects[names.SELECTOR_SET, "", "ss-1"]
    assert await bench.writer.ensure(names.SELECTOR_SET, {KEY: SET}) == set()
    assert [verb for verb, _, _ in bench.api.calls] == ["update", "create"]


async def test_deleting_what_is_gone_already_is_done(bench: Bench) -> None:
    bench.seen(names.SELECTOR_SET, "ss-1", spec={})
    bench.api.objects.clear()
    assert await bench.writer.ensure(names.SELECTOR_SET, {KEY: None}) == set()
    assert KEY not in bench.cluster.owned(names.SELECTOR_SET)


@pytest.mark.parametrize(
    "error", [errors.UnavailableError("down"), errors.RefusedError("no"), errors.ConflictError("x")]
)
async def test_what_cannot_be_written_is_told_and_hurts_nobody_else(bench: Bench, error: errors.ApiError) -> None:
    bench.api.fail = lambda call: error if call[2] == "ss-1" else None
    failed = await bench.writer.ensure(names.SELECTOR_SET, {KEY: SET, ("", "ss-2"): SET})
    assert failed == {KEY}
    assert bench.api.of(names.SELECTOR_SET).keys() == {"ss-2"}


async def test_foreign_metadata_on_our_objects_is_taken_off(bench: Bench) -> None:
    bench.seen(names.SELECTOR_SET, "ss-1", metadata={"annotations": {"mine": "x"}}, spec=SET["spec"])
    await bench.writer.ensure(names.SELECTOR_SET, {KEY: SET})
    assert "annotations" not in bench.api.of(names.SELECTOR_SET)["ss-1"]["metadata"]


async def test_status_of_an_object_that_is_gone_needs_none(bench: Bench) -> None:
    assert await bench.writer.status(names.CILIUM_NODE, ("", "w1"), {})
    bench.seen(names.CILIUM_NODE, "w1", spec={})
    bench.api.fail = lambda _call: errors.UnavailableError("down")
    assert not await bench.writer.status(names.CILIUM_NODE, ("", "w1"), {})


async def test_a_spec_that_comes_with_the_answer_to_a_status_write_is_news(bench: Bench) -> None:
    stored = bench.seen(names.NETWORK_POLICY, "p", "ns", metadata={"generation": 1}, spec={"old": True})
    heard: list[object] = []
    bench.cluster.listen(names.NETWORK_POLICY, lambda _key, _before, after: heard.append(after.spec))
    edited = bench.api.put(names.NETWORK_POLICY, {**stored, "spec": {"new": True}})  # by a user; not watched yet
    await bench.writer.status(names.NETWORK_POLICY, ("ns", "p"), {"conditions": [{"type": "Valid"}]})
    assert heard == [{"new": True}]
    bench.cluster.seen(names.NETWORK_POLICY, edited)
    await bench.writer.status(names.NETWORK_POLICY, ("ns", "p"), {"conditions": []})
    assert heard == [{"new": True}], "conditions are no news"


async def test_the_sweep_finds_what_went_unnoticed(bench: Bench) -> None:
    bench.seen(names.POD, "stays", "ns", spec={})
    bench.seen(names.POD, "went", "ns", spec={})
    del bench.api.objects[names.POD, "ns", "went"]
    await sweep.once(bench.api, bench.cluster)  # type: ignore[arg-type]  # quacks
    assert bench.cluster.pods.known() == {("ns", "stays")}


async def test_behind_is_what_the_watch_has_not_shown_as_it_was_when_asked(bench: Bench) -> None:
    old = bench.seen(names.POD, "changed", "ns", spec={})
    bench.seen(names.POD, "went", "ns", spec={})
    del bench.api.objects[names.POD, "ns", "went"]
    made = [bench.api.put(names.POD, {"metadata": {"name": name, "namespace": "ns"}}) for name in ("new", "brief")]
    changed = bench.api.put(names.POD, old)
    versions = [int(body["metadata"]["resourceVersion"]) for body in (*made, changed)]
    behind = await sweep.behind(bench.api, bench.cluster, [names.POD, names.NODE])  # type: ignore[arg-type]  # quacks
    wanted = dict(zip([("ns", "new"), ("ns", "brief"), ("ns", "changed")], versions, strict=True))
    assert behind == {names.POD: {**wanted, ("ns", "went"): sweep.GONE}}

    bench.cluster.gone(names.POD, ("ns", "went"))
    bench.cluster.seen(names.POD, changed)
    bench.api.put(names.POD, changed)  # again, after it was asked for: of no account
    del bench.api.objects[names.POD, "ns", "brief"]  # never to be seen
    behind = await sweep.still_behind(bench.api, bench.cluster, behind)  # type: ignore[arg-type]  # quacks
    assert behind == {names.POD: dict(zip([("ns", "new"), ("ns", "brief")], versions[:2], strict=True))}
    behind = await sweep.still_behind(bench.api, bench.cluster, behind)  # type: ignore[arg-type]  # quacks
    assert behind == {names.POD: {("ns", "new"): versions[0]}}, "asked anew where the watch shows nothing more"
    bench.cluster.seen(names.POD, made[0])
    assert await sweep.still_behind(bench.api, bench.cluster, behind) == {}  # type: ignore[arg-type]  # quacks


async def test_a_listing_is_followed_by_a_sweep(bench: Bench) -> None:
    bench.seen(names.POD, "went", "ns", spec={})
    bench.api.objects.clear()
    swept = asyncio.Event()
    bench.cluster.listen(names.POD, lambda _key, _before, _after: swept.set())
    task = asyncio.ensure_future(sweep.run(bench.api, bench.cluster, settle=0))  # type: ignore[arg-type]  # quacks
    bench.cluster.listing.set()
    await asyncio.wait_for(swept.wait(), 5)
    task.cancel()
    assert not bench.cluster.pods.known()


async def test_the_sweep_spares_what_came_after_the_list(bench: Bench) -> None:
    meta = {"name": "new", "namespace": "ns", "resourceVersion": "999999"}
    bench.cluster.seen(names.POD, {"metadata": meta, "spec": {}})
    await sweep.once(bench.api, bench.cluster)  # type: ignore[arg-type]  # quacks
    assert ("ns", "new") in bench.cluster.pods


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, errors.NotFoundError),
        (409, errors.ConflictError),
        (422, errors.RefusedError),
        (403, errors.RefusedError),
        (410, errors.UnavailableError),
        (429, errors.UnavailableError),
        (500, errors.UnavailableError),
        (503, errors.UnavailableError),
    ],
)
def test_errors_are_a_closed_list(status: int, kind: type[errors.ApiError]) -> None:
    assert type(errors.of_status(status, "")) is kind


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (413, "Request entity too large: limit is 3145728"),
        (500, "etcdserver: request is too large"),
        (
            500,
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2397154 vs. 2097152)",
        ),
    ],
)
def test_too_large_is_told_in_many_ways(status: int, message: str) -> None:
    assert type(errors.of_status(status, message)) is errors.TooLargeError


def test_the_endpoint_slices_of_a_service_are_found_by_it(bench: Bench) -> None:
    def seen(name: str, service: str) -> None:
        labels = {"kubernetes.io/service-name": service}
        bench.seen(names.ENDPOINT_SLICE, name, "ns", metadata={"labels": labels})

    heard: list[int] = []
    bench.cluster.listen(names.ENDPOINT_SLICE, lambda *_: heard.append(len(bench.cluster.slices(("ns", "web")))))
    seen("web-2", "web")
    seen("web-1", "web")
    seen("lone", "")
    seen("web-1", "other")
    bench.gone(names.ENDPOINT_SLICE, "web-2", "ns")
    bench.gone(names.ENDPOINT_SLICE, "web-1", "ns")
    assert heard == [1, 2, 2, 1, 0, 0]
    assert not bench.cluster._slices, "what is empty is forgotten"
