"""An API server of dicts over real HTTP: list in pages, watch, get, apply, delete with preconditions.

For tests of the client and of the whole agent; what a real one does is asked of a real one, in tests/api and tests/e2e.
"""

import asyncio
import itertools
import json
import socket

from aiohttp import web

PAGE = 2  # items per page, whatever the client asks for: every listing has several


class FakeApiServer:
    """`objects`: path of the object -> object. `collection(path)` is what a list of its parent gives."""

    def __init__(self) -> None:
        self.objects: dict[str, dict] = {}
        self.requests: list[tuple[str, str]] = []  # (method, path)
        self.headers: list[dict[str, str]] = []
        self.status = 0  # answer everything with this instead, where not 0
        self.forgets = False  # listings of an exact version are answered with 410
        self._versions = itertools.count(1)
        self._watchers: list[tuple[str, asyncio.Queue]] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, listener: socket.socket | None = None) -> None:
        """On a socket of the caller's, or any port of this machine."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await (web.SockSite(self._runner, listener) if listener else web.TCPSite(self._runner, "127.0.0.1", 0)).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        for _, queue in self._watchers:
            queue.put_nowait(None)
        await self._runner.cleanup()

    def put(self, path: str, item: dict) -> dict:
        """Creates or changes an object and tells the watchers."""
        known = self.objects.get(path)
        collection, _, name = path.rpartition("/")
        metadata = {"name": name, "uid": f"uid-{path}", **item.get("metadata", {})}
        if "/namespaces/" in path and not path.endswith("/namespaces"):
            metadata.setdefault("namespace", path.split("/namespaces/")[1].split("/", maxsplit=1)[0])
        if known:
            metadata["uid"] = known["metadata"]["uid"]
        metadata["resourceVersion"] = str(next(self._versions))
        stored = {**item, "metadata": metadata}
        self.objects[path] = stored
        self._tell(collection, "MODIFIED" if known else "ADDED", stored)
        return stored

    def remove(self, path: str) -> None:
        self._tell(path.rpartition("/")[0], "DELETED", self.objects.pop(path))

    def tell(self, collection: str, event: dict) -> None:
        """Any event at all, to those who watch the collection."""
        for watched, queue in self._watchers:
            if _covers(watched, collection):
                queue.put_nowait(event)

    def _tell(self, collection: str, kind: str, item: dict) -> None:
        self.tell(collection, {"type": kind, "object": item})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.requests.append((request.method, path))
        self.headers.append(dict(request.headers))
        if self.status:
            return _status(self.status, "as the test wants")
        if request.method == "PATCH":
            return web.json_response(self.put(path, json.loads(await request.read())))
        if request.method == "DELETE":
            return self._delete(path, json.loads(await request.read() or b"{}"))
        if path in self.objects:
            return web.json_response(self.objects[path])
        if "watch" in request.query:
            return await self._watch(request)
        if path.rpartition("/")[2].islower() and "-" not in path.rpartition("/")[2] and path.count("/") in (3, 4):
            if self.forgets and request.query.get("resourceVersionMatch") == "Exact":
                return _status(410, "the version is too old")
            return web.json_response(self._list(path, request.query))
        return _status(404, f"{path} not found")

    def _list(self, path: str, query) -> dict:
        found = [item for name, item in self.objects.items() if _covers(path, name.rpartition("/")[0])]
        if wanted := query.get("labelSelector"):
            key, _, value = wanted.partition("=")
            found = [item for item in found if item["metadata"].get("labels", {}).get(key) == value]
        field, _, value = query.get("fieldSelector", "").partition("=")
        if field == "metadata.name":
            found = [item for item in found if item["metadata"]["name"] == value]
        if "continue" in query and "resourceVersionMatch" in query:
            return {}  # a real one refuses that
        begin = int(query.get("continue") or 0)
        metadata = {"resourceVersion": str(next(self._versions))}
        if begin + PAGE < len(found):
            metadata["continue"] = str(begin + PAGE)
        return {"metadata": metadata, "items": found[begin : begin + PAGE]}

    def _delete(self, path: str, options: dict) -> web.Response:
        if path not in self.objects:
            return _status(404, "not found")
        wanted = options.get("preconditions") or {}
        metadata = self.objects[path]["metadata"]
        if any(metadata[name] != value for name, value in wanted.items()):
            return _status(409, "the precondition is not met")
        self.remove(path)
        return web.json_response({})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue = asyncio.Queue()
        self._watchers.append((request.path, queue))
        while (event := await queue.get()) is not None:
            text = json.dumps(event).encode() + b"\n"
            half = len(text) // 2  # lines come in pieces
            await response.write(text[:half])
            await response.write(text[half:])
        return response


def _covers(collection: str, parent: str) -> bool:
    """Whether objects under `parent` belong to a list of `collection`: the same, or all namespaces of it."""
    group, _, plural = collection.rpartition("/")
    return parent == collection or (parent.startswith(f"{group}/namespaces/") and parent.endswith(f"/{plural}"))


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)
