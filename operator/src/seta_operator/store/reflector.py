"""Watches one kind without kopf: what comes by the thousand; and leases, in one namespace and not in all.

That is Pods, Services, their endpoints, and what the operator writes itself, each write of which comes back. An event
costs kopf a task of its own, about a millisecond; here it costs a comparison. Fills the tables as the handlers do, and
says when it sees nothing: a listener that judges by what it does not hear must know whether it could have heard. Run by
app.py.
"""

import asyncio
from typing import Protocol

import structlog

from seta_crds.names import Kind
from seta_operator.store import errors
from seta_operator.store.api import Api
from seta_operator.store.cluster import Cluster, key_of, version_of

FIRST_PAUSE, LAST_PAUSE = 0.1, 2.0  # seconds between attempts
log = structlog.get_logger()


class Watcher(Protocol):
    """Who has to know whether there is a watch."""

    def lost(self) -> None:
        """From now on nothing is seen."""

    def found(self) -> None:
        """Everything has been listed, and what changes is seen again."""


class Nobody:
    """A watcher who does not have to know."""

    def lost(self) -> None:
        """Does nothing."""

    def found(self) -> None:
        """Does nothing."""


class Reflector:
    """A list, then what changes; listed again whenever the watch broke."""

    def __init__(
        self, api: Api, cluster: Cluster, place: tuple[Kind, str], watcher: Watcher, *, silence: float
    ) -> None:
        """`place`: what is watched, in which namespace ("": in all).

        `silence`: seconds without an event, or a bookmark, after which a watch counts as broken.
        """
        self._api, self._cluster, self._silence = api, cluster, silence
        self._kind, self._namespace = place
        self._watcher = watcher
        self.listed = asyncio.Event()  # set once everything was seen

    async def run(self) -> None:
        """Watch for ever."""
        pause = FIRST_PAUSE
        while True:
            try:
                version = await self._list()
                pause = FIRST_PAUSE
                while True:
                    version = await self._follow(version)
            except errors.ApiError as error:
                log.info("reflector.again", kind=self._kind.kind, error=str(error), seconds=pause)
                self._watcher.lost()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    async def _list(self) -> str:
        version, listed = "", set()
        async for version, items in self._api.pages(self._kind, self._namespace):  # noqa: B007 - the last one's is wanted
            for item in items:
                self._cluster.seen(self._kind, item)
                listed.add(key_of(item))
        for key in self._cluster.tables[self._kind].known() - listed:
            self._cluster.gone(self._kind, key, int(version))
        self.listed.set()
        self._watcher.found()
        return version

    async def _follow(self, version: str) -> str:
        """One watch, until the API server ends it; from where the next one goes on."""
        async for event in self._api.watch(self._kind, self._namespace, version, self._silence):
            body = event["object"]
            version = body["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self._cluster.gone(self._kind, key_of(body), version_of(body))
            elif event["type"] != "BOOKMARK":
                self._cluster.seen(self._kind, body)
        return version
