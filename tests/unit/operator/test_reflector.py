"""The reflector: lists, follows, and says when it cannot see."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from seta_crds import names
from seta_operator.store import errors, reflector
from seta_operator.store.cluster import Cluster
from seta_operator.store.reflector import Reflector
from tests.unit.operator.fakes import Sight

JSON = dict[str, Any]
Script = list[list[JSON] | errors.ApiError]  # what each watch shows, or how it fails


def lease(name: str, version: int, holder: str = "n1") -> JSON:
    meta = {"namespace": "kube-system", "name": name, "resourceVersion": str(version)}
    return {"metadata": meta, "spec": {"holderIdentity": holder}}


class ScriptedApi:
    """Lists and watches as written down; after the last watch, for ever silent."""

    def __init__(self, lists: list[tuple[str, list[JSON]]], watches: Script) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[str] = []  # "list", or the version a watch begins at
        self.done = asyncio.Event()

    async def pages(self, *_place: Any) -> AsyncIterator[tuple[str, list[JSON]]]:
        self.asked.append("list")
        version, items = self.lists.pop(0)
        for item in items:
            yield version, [item]

    async def watch(self, _kind: Any, _namespace: str, version: str, _silence: float) -> AsyncIterator[JSON]:
        self.asked.append(version)
        if not self.watches:
            self.done.set()
            await asyncio.Event().wait()
        shown = self.watches.pop(0)
        if isinstance(shown, errors.ApiError):
            raise shown
        for event in shown:
            yield event


async def run(api: ScriptedApi, cluster: Cluster, monkeypatch: Any) -> list[str]:
    monkeypatch.setattr(reflector, "FIRST_PAUSE", 0.0)
    sight = Sight()
    it = Reflector(api, cluster, (names.LEASE, "kube-system"), sight, silence=9)  # type: ignore[arg-type]
    task = asyncio.create_task(it.run())
    await asyncio.wait_for(api.done.wait(), 5)
    task.cancel()
    assert it.listed.is_set()
    return sight.told


def held(cluster: Cluster) -> dict[str, str]:
    return {name: value.content["spec"]["holderIdentity"] for (_, name), value in cluster.owned(names.LEASE).items()}


async def test_what_changes_is_followed_and_a_watch_that_ends_goes_on_where_it_was(monkeypatch: Any) -> None:
    events = [
        {"type": "MODIFIED", "object": lease("a", 11, "n2")},
        {"type": "ADDED", "object": lease("c", 12)},
        {"type": "DELETED", "object": lease("b", 13)},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "20"}}},
    ]
    api, cluster = ScriptedApi([("10", [lease("a", 5), lease("b", 6)])], [events]), Cluster()
    assert await run(api, cluster, monkeypatch) == ["found"]
    assert held(cluster) == {"a": "n2", "c": "n1"}
    assert api.asked == ["list", "10", "20"]


async def test_a_broken_watch_is_told_and_lists_again(monkeypatch: Any) -> None:
    lists = [("10", [lease("a", 5), lease("gone", 6)]), ("30", [lease("a", 25, "n2")])]
    api, cluster = ScriptedApi(lists, [errors.UnavailableError("silent")]), Cluster()
    assert await run(api, cluster, monkeypatch) == ["found", "lost", "found"]
    assert held(cluster) == {"a": "n2"}
    assert api.asked == ["list", "10", "list", "30"]
