"""The API server, as far as the agent needs it: read one, list in pages, watch, apply, delete.

Used by the watch (lists and watches), the identity barrier (single reads), the CiliumEndpoint writer and the uninstall
check. Bodies stay plain dicts, decoded by orjson: at ten thousand services a model per object would cost seconds and
tens of megabytes, and the watch keeps only a few fields of each.
"""

import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson

from seta_agent.kube_access import Access

PAGE = 500  # objects per list request: bounds the memory of one answer
NOBODY = "-"  # no object's name
WATCH_SECONDS = 300  # the server ends a watch after this long
CONNECTED = "CONNECTED"  # our own event type: the watch stands, though nothing has happened yet
SILENCE_SECONDS = WATCH_SECONDS + 30.0  # a quiet subject says nothing until its watch's end: bookmarks may be rare
KEEPALIVE = (  # a server that vanished without a word is noticed within half a minute, by the kernel
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
Object = dict[str, Any]


class KubeError(Exception):
    """An answer other than 2xx (`status`), or none at all (status 0). The message is the server's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def gone(self) -> bool:
        return self.status == 404

    @property
    def expired(self) -> bool:
        """The resource version is too old: list again."""
        return self.status == 410

    @property
    def forbidden(self) -> bool:
        return self.status in (401, 403)


class KubeClient:
    """One connection pool to the API server. Paths are absolute ("/api/v1/pods")."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Object:
        return await self._request("GET", path, params=params)

    async def pages(
        self, path: str, params: Mapping[str, str] | None = None, *, cached: bool = False
    ) -> AsyncIterator[Object]:
        """A complete listing, one list object per page; the last one's metadata.resourceVersion starts a watch.

        `cached`: as the server has it in memory, and perhaps some moments old. A server whose etcd cannot tell it that
        its memory is current reads and decodes every object anew for any other listing.
        """
        every = {**(params or {}), "limit": str(PAGE)}
        query = {**every, **await self._remembered(path)} if cached else every
        while True:
            try:
                page = await self._request("GET", path, params=query)
            except KubeError as error:
                if "resourceVersionMatch" not in query or not error.expired:
                    raise
                query = every
                continue
            yield page
            proceed = page["metadata"].get("continue")
            if not proceed:
                return
            query = {**every, "continue": proceed}

    async def _remembered(self, path: str) -> dict[str, str]:
        """What asks for exactly what the server has in memory: that has pages, unlike "whatever you have"."""
        none = {"resourceVersion": "0", "limit": "1", "fieldSelector": f"metadata.name={NOBODY}"}
        answer = await self._request("GET", path, params=none)
        return {"resourceVersion": answer["metadata"]["resourceVersion"], "resourceVersionMatch": "Exact"}

    async def watch(self, path: str, version: str, params: Mapping[str, str] | None = None) -> AsyncIterator[Object]:
        """Watch events from `version` on, the first one CONNECTED; ends when the server ends it.

        Raises KubeError (410: list again).
        """
        query = {
            **(params or {}),
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_SECONDS)
        try:
            async with self._open().get(
                self._access.server + path, params=query, headers=self._access.headers(), timeout=timeout
            ) as response:
                if response.status != 200:
                    raise _error(response.status, await response.read())
                yield {"type": CONNECTED}
                async for line in _lines(response.content):
                    yield _event(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, _sentence(error)) from error

    async def apply(self, path: str, body: Object, manager: str) -> Object:
        """Server-side apply: creates or changes the object to what is named in `body`."""
        params = {"fieldManager": manager, "force": "true"}
        return await self._request("PATCH", path, params=params, body=body, content="application/apply-patch+yaml")

    async def delete(self, path: str, preconditions: Mapping[str, str] | None = None) -> None:
        """Raises KubeError: 404 when it is gone already, 409 when a precondition (uid, resourceVersion) fails."""
        await self._request("DELETE", path, body={"preconditions": preconditions} if preconditions else {})

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
    ) -> Object:
        headers = {**self._access.headers(), "Content-Type": content}
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._open().request(
                method, self._access.server + path, params=params, data=data, headers=headers
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, _sentence(error)) from error
        if not 200 <= response.status < 300:
            raise _error(response.status, answer)
        return _decode(answer)

    def _open(self) -> aiohttp.ClientSession:
        """The session is made with the first request: it wants a running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._access.tls or True, limit=32, socket_factory=_socket),
                timeout=aiohttp.ClientTimeout(total=30, sock_connect=10),
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "seta-agent"},
            )
        return self._session


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    for level, option, value in KEEPALIVE:
        made.setsockopt(level, option, value)
    return made


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: a watched object may be longer than the reader's own line limit."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _event(line: bytes) -> Object:
    event = _decode(line)
    if event.get("type") == "ERROR":
        status = event.get("object") or {}
        raise KubeError(int(status.get("code") or 500), str(status.get("message") or "the watch ended with an error"))
    return event


def _decode(data: bytes) -> Object:
    try:
        decoded = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise KubeError(0, f"the API server's answer is no JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise KubeError(0, "the API server's answer is no JSON object")
    return decoded


def _error(status: int, body: bytes) -> KubeError:
    try:
        message = orjson.loads(body).get("message", "")
    except (orjson.JSONDecodeError, AttributeError):
        message = body[:200].decode(errors="replace")
    return KubeError(status, message or f"HTTP status {status}")


def _sentence(error: BaseException) -> str:
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
