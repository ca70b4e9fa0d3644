"""The client of the API server, over real HTTP: what is sent when, and what is not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest
from aiohttp import web

from seta_crds import names
from seta_operator.store import errors
from seta_operator.store.api import Api, Pace
from seta_operator.store.cluster import Cluster
from seta_operator.store.leadership import Leadership
from seta_operator.store.writer import Writer

JSON = dict[str, Any]
KEYS = [("", f"ss-{n}") for n in range(5)]


class SlowServer:
    """Answers creation when it is let, and everything else at once: it has three SelectorSets, and lists two a page."""

    def __init__(self) -> None:
        self.pages: list[dict[str, str]] = []  # what was asked for of each
        self.too_old = False  # whether a list can be gone on with no more
        self.created: list[str] = []  # as they came
        self.answers = asyncio.Semaphore(0)  # how many creations may be answered
        self.came = asyncio.Condition()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        if request.path.endswith("/selectorsets") and request.method == "GET":
            return self._page(dict(request.query))
        if request.method != "POST":
            return web.json_response({"message": "not there"}, status=404)
        body: JSON = await request.json()
        if body["kind"] != names.LEASE.kind:
            async with self.came:
                self.created.append(body["metadata"]["name"])
                self.came.notify_all()
            await self.answers.acquire()
        return web.json_response({**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}, status=201)

    def _page(self, query: dict[str, str]) -> web.Response:
        self.pages.append(query)
        if self.too_old and "continue" in query:
            return web.json_response({"message": "too old"}, status=410)
        first = int(query.get("continue", "0"))
        rest = {"continue": "2"} if first == 0 else {}
        items = [{"metadata": {"name": f"ss-{n}", "resourceVersion": str(n)}} for n in range(3)][first : first + 2]
        return web.json_response({"metadata": {"resourceVersion": "9", **rest}, "items": items})

    async def wait_for(self, creations: int) -> None:
        async with self.came:
            await asyncio.wait_for(self.came.wait_for(lambda: len(self.created) == creations), 5)

    def login(self) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=self.url)


@pytest.fixture
async def server() -> AsyncIterator[SlowServer]:
    found, application = SlowServer(), web.Application()
    application.router.add_route("*", "/{path:.*}", found.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def burst(api: Api) -> "asyncio.Task[set[tuple[str, str]]]":
    """More writes than may be under way at once."""
    content = {"metadata": {}, "spec": {"selector": "*", "identities": [1]}}
    return asyncio.create_task(Writer(api, Cluster()).ensure(names.SELECTOR_SET, dict.fromkeys(KEYS, content)))


async def test_a_write_that_had_to_wait_is_sent_only_while_this_operator_leads(server: SlowServer) -> None:
    leads = True
    async with Api(server.login, Pace(at_once=2), lambda: leads) as api:
        writing = burst(api)
        await server.wait_for(2)
        leads = False
        for _ in KEYS:
            server.answers.release()
        assert await writing == set(KEYS[2:])
        assert sorted(server.created) == [name for _, name in KEYS[:2]]
        with pytest.raises(errors.NotFoundError):  # reading is free
            await api.read(names.SELECTOR_SET, "", "any")


async def test_the_lease_is_renewed_in_a_burst_of_writes(server: SlowServer) -> None:
    async with Api(server.login, Pace(at_once=2)) as lease:
        leadership = Leadership(lease, "kube-system", "a")
        await leadership.attempt()
        async with Api(server.login, Pace(at_once=2), leadership.may_write) as work:
            writing = burst(work)
            await server.wait_for(2)
            await asyncio.wait_for(leadership.attempt(), 5)
            for _ in KEYS:
                server.answers.release()
            assert await writing == set()


async def test_an_answer_is_not_waited_for_longer_than_its_client_can(server: SlowServer) -> None:
    async with Api(server.login, Pace(write=0.01)) as api:
        with pytest.raises(errors.UnavailableError):
            await api.create(names.SELECTOR_SET, {"kind": "SelectorSet", "metadata": {"name": "ss-1"}})
        server.answers.release()


async def test_lists_come_in_pages(server: SlowServer) -> None:
    async with Api(server.login) as api:
        assert await api.names(names.SELECTOR_SET) == (9, {("", f"ss-{n}"): n for n in range(3)})
        version, listed = await api.listed(names.SELECTOR_SET, "")
        assert (version, [one["metadata"]["name"] for one in listed]) == ("9", ["ss-0", "ss-1", "ss-2"])
        assert {one["kind"] for one in listed} == {"SelectorSet"}
        assert server.pages == [{"limit": "500"}, {"limit": "500", "continue": "2"}] * 2
        server.too_old = True
        with pytest.raises(errors.UnavailableError):
            await api.names(names.SELECTOR_SET)
