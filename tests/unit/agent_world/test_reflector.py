"""Lists and watches against a scripted API server: what the table holds after each turn."""

import asyncio
import contextlib
import dataclasses

import pytest

from seta_agent import kube
from seta_agent.kube import KubeError
from seta_agent.tables import Table
from seta_agent.watch import reflector
from seta_agent.watch.reflector import Reflector, Source


def thing(name: str, value: int | str = 1, version: str = "1") -> dict:
    return {"metadata": {"name": name, "resourceVersion": version}, "value": value}


SOURCE = Source("things", "/things", key=lambda item: item["metadata"]["name"], parse=lambda item: int(item["value"]))


class Server:
    """Answers lists from `pages` and each watch from the next script of events; then it says nothing more."""

    def __init__(self, pages, *scripts):
        self.listings, self.scripts = pages, list(scripts)
        self.watched_from: list[str] = []
        self.cached: list[bool] = []  # of each listing, whether the server's memory would do
        self.idle = asyncio.Event()

    async def pages(self, path, params=None, *, cached=False):  # noqa: ARG002
        self.cached.append(cached)
        for page in self.listings:
            if isinstance(page, Exception):
                self.listings = self.listings[1:]
                raise page
            yield page

    async def watch(self, path, version, params=None):  # noqa: ARG002
        self.watched_from.append(version)
        if not self.scripts:
            self.idle.set()
            await asyncio.Event().wait()
        yield {"type": kube.CONNECTED}
        for event in self.scripts.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


def page(*items, version="10") -> dict:
    return {"metadata": {"resourceVersion": version}, "items": list(items)}


@pytest.fixture
def table() -> Table:
    return Table("things")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(reflector, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(reflector, "LONGEST_PAUSE", 0.0)


async def play(server: Server, table: Table, source: Source = SOURCE) -> Reflector:
    running = Reflector(server, source, table)
    task = asyncio.create_task(running.run())
    async with asyncio.timeout(5):
        await server.idle.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return running


def rows(table: Table) -> dict:
    return {key: table.get(key) for key in table.keys()}  # noqa: SIM118 - it iterates over rows


async def test_a_listing_of_several_pages_is_one_listing(table):
    table.set("stale", 1)
    await play(Server([page(thing("a", 1)), page(thing("b", 2), version="11")]), table)
    assert rows(table) == {"a": 1, "b": 2}
    assert table.synced


async def test_events_change_rows_and_bookmarks_move_the_version(table):
    events = [
        {"type": "ADDED", "object": thing("b", 2, "12")},
        {"type": "MODIFIED", "object": thing("a", 5, "13")},
        {"type": "DELETED", "object": thing("b", 2, "14")},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}},
    ]
    server = Server([page(thing("a"))], events)
    await play(server, table)
    assert rows(table) == {"a": 5}
    assert server.watched_from == ["10", "99"]


async def test_a_broken_connection_goes_on_where_it_was_without_a_new_listing(table):
    server = Server([page(thing("a"))], [{"type": "ADDED", "object": thing("b", 2, "12")}, KubeError(0, "gone")])
    running = await play(server, table)
    assert server.watched_from == ["10", "12"]
    assert rows(table) == {"a": 1, "b": 2}
    assert running.describe()["error"] == "gone"


async def test_an_expired_version_lists_again(table):
    server = Server([page(thing("a"))], [{"type": "ADDED", "object": thing("b", 2, "12")}, KubeError(410, "too old")])
    await play(server, table)
    assert server.watched_from == ["10", "10"]
    assert rows(table) == {"a": 1}


@pytest.mark.parametrize(("may_be_old", "cached"), [(False, [False, False]), (True, [True, False])])
async def test_only_a_first_listing_may_be_old_and_only_where_that_is_harmless(table, may_be_old, cached):
    source = dataclasses.replace(SOURCE, may_be_old=may_be_old)
    server = Server([page(thing("a"))], [KubeError(410, "too old")])
    await play(server, table, source)
    assert server.cached == cached


async def test_a_connection_that_stands_again_clears_the_error(table):
    server = Server([page()], [KubeError(500, "broken")], [])
    running = await play(server, table)
    assert running.describe()["error"] == ""


async def test_a_server_that_is_not_there_yet_is_asked_again(table):
    await play(Server([KubeError(404, "no such resource"), page(thing("a"))]), table)
    assert rows(table) == {"a": 1}


async def test_a_malformed_object_does_not_stop_the_others(table):
    server = Server([page({"metadata": {}}, thing("bad", "x"), thing("good", 3))])
    running = await play(server, table)
    assert rows(table) == {"good": 3}
    assert running.describe()["malformed"] == 2


async def test_a_malformed_change_leaves_the_last_good_row(table):
    server = Server([page(thing("a", 7))], [{"type": "MODIFIED", "object": thing("a", "broken", "12")}])
    await play(server, table)
    assert rows(table) == {"a": 7}


async def test_a_row_that_is_none_of_ours_any_more_goes(table):
    source = Source("things", "/things", SOURCE.key, lambda item: item["value"] or None)
    server = Server([page(thing("a", 7))], [{"type": "MODIFIED", "object": thing("a", 0, "12")}])
    await play(server, table, source)
    assert rows(table) == {}
