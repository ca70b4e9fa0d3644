"""Keeps one table equal to one collection on the API server: list, then watch, for ever.

`seta_agent.watch.sources` says which collections there are; `main` runs one reflector per source. A broken connection
continues from the last known version; only an expired one (410) lists again. The API server's absence changes nothing
in the table: the datapath goes on as last programmed. A malformed object is logged once and skipped; where an earlier
good version of it is known, that one stays.
"""

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

import structlog

from seta_agent import kube
from seta_agent.kube import KubeClient, KubeError, Object
from seta_agent.tables import Table

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")
log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0  # seconds between attempts, doubled each time, with jitter
REMEMBERED_FAULTS = 1000  # malformed objects that are not logged again


@dataclasses.dataclass(frozen=True)
class Source(Generic[Key, Row]):
    """A collection and how its objects become rows."""

    name: str
    path: str
    key: Callable[[Object], Key]
    parse: Callable[[Object], Row | None]  # None: not ours to keep (a hostNetwork pod)
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    may_be_old: bool = False  # the first listing, by some moments: cheap where there are thousands, and soon made good


class Reflector(Generic[Key, Row]):
    """Runs one source into one table. `describe()` is what `seta status` shows."""

    def __init__(self, client: KubeClient, source: Source[Key, Row], table: Table[Key, Row]) -> None:
        self._client = client
        self._source = source
        self._table = table
        self._version = ""  # resource version to continue from; "" means list first
        self._faulty: set[str] = set()  # "namespace/name@version" of objects logged as malformed
        self._pause = FIRST_PAUSE
        self._error = ""
        self._error_since = 0.0
        self._log = log.bind(resource=source.name)

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
            except KubeError as error:
                await self._after_error(error)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self._source.name,
            "synced": self._table.synced,
            "objects": len(self._table),
            "malformed": len(self._faulty),
            "error": self._error,
        }

    async def _follow(self) -> None:
        if not self._version:
            await self._list()
        async for event in self._client.watch(self._source.path, self._version, self._source.params):
            if event["type"] == kube.CONNECTED:
                self._recovered()
            else:
                self._apply(event["type"], event["object"])
        await asyncio.sleep(random.uniform(0, FIRST_PAUSE))  # noqa: S311 - jitter: a server that hangs up at once

    async def _list(self) -> None:
        rows: dict[Key, Row] = {}  # key -> row
        version = ""
        cached = self._source.may_be_old and not self._table.synced  # never older than the table's rows
        async for page in self._client.pages(self._source.path, self._source.params, cached=cached):
            version = page["metadata"]["resourceVersion"]
            for item in page.get("items") or ():
                self._collect(item, rows)
        self._table.replace(rows)
        self._version = version
        self._recovered()
        self._log.info("listed", objects=len(rows))

    def _collect(self, item: Object, rows: dict[Key, Row]) -> None:
        try:
            key = self._source.key(item)
            row = self._parse_or_last(key, item)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._report(item, error)
            return
        if row is not None:
            rows[key] = row

    def _parse_or_last(self, key: Key, item: Object) -> Row | None:
        try:
            return self._source.parse(item)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._report(item, error)
            return self._table.get(key)

    def _apply(self, kind: str, item: Object) -> None:
        """One watch event. Bookmarks only carry the version."""
        if kind != "BOOKMARK":
            try:
                key = self._source.key(item)
                row = None if kind == "DELETED" else self._parse_or_last(key, item)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                self._report(item, error)
            else:
                self._store(key, row)
        self._version = (item.get("metadata") or {}).get("resourceVersion") or self._version

    def _store(self, key: Key, row: Row | None) -> None:
        if row is None:
            self._table.delete(key)
        else:
            self._table.set(key, row)

    def _report(self, item: Object, error: Exception) -> None:
        metadata = item.get("metadata") or {}
        name = f"{metadata.get('namespace', '')}/{metadata.get('name', '?')}"
        mark = f"{name}@{metadata.get('resourceVersion')}"
        if mark in self._faulty:
            return
        if len(self._faulty) >= REMEMBERED_FAULTS:
            self._faulty.clear()
        self._faulty.add(mark)
        self._log.warning("object_malformed", object=name, error=f"{type(error).__name__}: {error}")

    def _recovered(self) -> None:
        if self._error:
            self._log.info("watch_recovered", seconds=round(time.monotonic() - self._error_since, 1))
        self._error, self._pause = "", FIRST_PAUSE

    async def _after_error(self, error: KubeError) -> None:
        if error.expired:
            self._version = ""
            self._log.info("watch_expired")
        elif not self._error:
            self._error_since = time.monotonic()
            self._log.warning("watch_failed", status=error.status, error=str(error))
        if not error.expired:
            self._error = str(error)
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
