"""The few requests the operator makes besides kopf's watches: read, create, replace, delete, patch status, watch.

Called by leadership.py, writer.py, sweep.py and reflector.py. Bounded: so many requests at once, so that a burst of
changes neither floods the API server nor opens a connection each; the others wait, in the order they came. What must
not wait behind such a burst has a client of its own (app.py).
"""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import kopf

from seta_crds.names import Kind
from seta_operator.store import errors

JSON = dict[str, Any]
PAGE = 500  # objects
LONGEST = 4 << 20  # bytes of a watched object: more than etcd stores
WATCHED = 0.8  # of the silence that counts as broken: after that the API server ends a watch
CONNECT = 3.0  # seconds: what is sent that late still comes before another operator leads (leadership.py)
_JSON = "application/json"
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Pace(NamedTuple):
    """How much a client asks for at once, and how long it waits for an answer."""

    at_once: int = 32  # requests
    read: float = 15.0  # seconds
    write: float = 15.0  # seconds


WORK = Pace()


class Api:
    """A client of one API server. Use as an async context manager."""

    def __init__(
        self,
        login: Callable[[], kopf.ConnectionInfo],
        pace: Pace = WORK,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`login` is called at the start and whenever the credentials it gave have expired.

        `may_write`: whether this operator is the one that decides, asked right before each write is sent: it may have
        waited for its turn.
        """
        self._login, self._pace, self._may_write = login, pace, may_write
        self._info: kopf.ConnectionInfo | None = None
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(pace.at_once)

    async def __aenter__(self) -> Self:
        self._info = self._login()
        connector = aiohttp.TCPConnector(limit=0, ssl=self._info.as_ssl_context())  # the slots limit
        self._session = aiohttp.ClientSession(self._info.server, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def read(self, kind: Kind, namespace: str, name: str) -> JSON:
        """The object as it is now."""
        return await self._request("GET", kind.path(namespace, name))

    async def names(self, kind: Kind) -> tuple[int, dict[tuple[str, str], int]]:
        """Version of the list, and (namespace, name) -> version of every object of the kind."""
        found, version = {}, ""
        async for version, items in self._pages(kind.path(), _NAMES_ONLY):  # noqa: B007 - the last one's is wanted
            for meta in (item["metadata"] for item in items):
                found[meta.get("namespace", ""), meta["name"]] = int(meta["resourceVersion"])
        return int(version), found

    async def listed(self, kind: Kind, namespace: str) -> tuple[str, list[JSON]]:
        """Version of the list, and every object of the kind in a namespace."""
        found, version = [], ""
        async for version, items in self.pages(kind, namespace):  # noqa: B007 - the last one's is wanted
            found += items
        return version, found

    async def pages(self, kind: Kind, namespace: str) -> AsyncIterator[tuple[str, list[JSON]]]:
        """The same, page by page: there may be more than one wants to hold at once."""
        async for version, items in self._pages(kind.path(namespace), _JSON):
            yield version, [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in items]

    async def _pages(self, path: str, accept: str) -> AsyncIterator[tuple[str, list[JSON]]]:
        """A list as it was at one moment: its version, the same for every page, and the page's items.

        A page is soon read, and other work gets its turn between two.
        """
        query = {"limit": str(PAGE)}
        while True:
            body = await self._request("GET", path, query=query, accept=accept)
            yield body["metadata"]["resourceVersion"], body["items"] or []
            if not (token := body["metadata"].get("continue")):
                return
            query["continue"] = token

    async def watch(self, kind: Kind, namespace: str, version: str, silence: float) -> AsyncIterator[JSON]:
        """Events after a version, bookmarks among them, until the API server ends the watch: that is no error.

        Raises:
            ApiError: it cannot be watched from there, or the connection broke, or nothing came for `silence` seconds.

        """
        if self._session is None:
            raise RuntimeError("Api is used outside its context")
        # Of a kind without any event there is no bookmark either: a watch that ends and goes on is no silence.
        ends = max(1, int(silence * WATCHED))
        options = f"watch=1&allowWatchBookmarks=true&timeoutSeconds={ends}&resourceVersion={version}"
        path = f"{kind.path(namespace)}?{options}"
        limits = aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_read=silence)
        try:
            async with self._session.get(
                path, headers=self._authorization(), timeout=limits, read_bufsize=LONGEST
            ) as response:
                if response.status >= 400:
                    raise errors.of_status(response.status, f"watch of {kind.plural}: {response.reason}")
                async for line in response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise errors.of_status(status.get("code", 500), f"watch of {kind.plural}: {status}")
                    yield event
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise errors.UnavailableError(f"watch of {kind.plural}: {str(error) or type(error).__name__}") from error

    async def served(self, group_version: str) -> set[str]:
        """Plural names of the resources that are served in a group and version; empty if it is unknown."""
        try:
            body = await self._request("GET", f"/apis/{group_version}")
        except errors.NotFoundError:
            return set()
        return {resource["name"] for resource in body["resources"]}

    async def create(self, kind: Kind, body: JSON) -> JSON:
        """Create; returns the object as stored."""
        return await self._request("POST", kind.path(body["metadata"].get("namespace", "")), body)

    async def replace(self, kind: Kind, body: JSON) -> JSON:
        """Replace the version that body names; returns the object as stored."""
        meta = body["metadata"]
        return await self._request("PUT", kind.path(meta.get("namespace", ""), meta["name"]), body)

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete, without waiting for finalizers."""
        await self._request("DELETE", kind.path(namespace, name))

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, status: JSON, version: int | None = None
    ) -> JSON:
        """Merge into the status subresource, of this resourceVersion only if one is given; the object as stored."""
        path = f"{kind.path(namespace, name)}/status"
        body: JSON = {"status": status}
        if version is not None:
            body["metadata"] = {"resourceVersion": str(version)}
        return await self._request("PATCH", path, body, content="application/merge-patch+json")

    async def _request(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        *,
        query: dict[str, str] | None = None,
        content: str = _JSON,
        accept: str = _JSON,
    ) -> JSON:
        if self._session is None:
            raise RuntimeError("Api is used outside its context")
        headers = {"Accept": accept, "Content-Type": content, **self._authorization()}
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        seconds = self._pace.read if method == "GET" else self._pace.write
        # A list may be long: what counts is whether it goes on coming.
        limits = aiohttp.ClientTimeout(total=None if query else seconds, sock_read=seconds, connect=CONNECT)
        try:
            async with self._slots:
                self._check(method)
                async with self._session.request(
                    method, path, params=query, data=data, headers=headers, timeout=limits
                ) as response:
                    answer: JSON = await response.json(content_type=None)
                    if response.status >= 400:
                        message = answer.get("message") if isinstance(answer, dict) else None
                        raise errors.of_status(response.status, f"{method} {path}: {message or response.reason}")
                    return answer
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise errors.UnavailableError(f"{method} {path}: {str(error) or type(error).__name__}") from error

    def _check(self, method: str) -> None:
        if method != "GET" and not self._may_write():
            raise errors.NotLeadingError("this operator could not renew its lease, and another may have taken over")

    def _authorization(self) -> dict[str, str]:
        now = dt.datetime.now(dt.UTC)
        if self._info is None or (self._info.expiration is not None and self._info.expiration <= now):
            self._info = self._login()
        return self._info.as_http_headers()
