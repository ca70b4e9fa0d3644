"""The agent's HTTP API on a unix socket: what `seta` asks. Started by the agent before the datapath is programmed.

Root and the socket's group may ask (0660); answers are JSON, errors {"error": "<sentence>"}. One thing can be
changed: an endpoint's options.
"""

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import structlog
from aiohttp import web

from seta_agent.api.backend import Backend
from seta_agent.api.errors import BadRequestError, NotFoundError, UnavailableError

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STREAM_PAUSE = 0.2  # seconds between writes while events come: one write for many


class ApiServer:
    """Listens on `path`. `backend` answers; this class only speaks HTTP."""

    def __init__(self, path: Path, backend: Backend) -> None:
        self._path = path
        self._backend = backend
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._runner = web.AppRunner(self._application(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        before = os.umask(0o117)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(before)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._path.unlink(missing_ok=True)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[_errors_as_json])
        back = self._backend
        plain: dict[str, Callable[[], Any]] = {  # path -> who answers
            "/v1/status": back.status,
            "/v1/endpoints": back.endpoints,
            "/v1/identities": back.identities,
            "/v1/ips": back.ips,
            "/v1/services": back.services,
            "/v1/policy": back.policy,
            "/v1/policy/selectors": back.selectors,
            "/v1/config": back.config,
            "/v1/bpf/lb": back.kernel.lb,
            "/v1/bpf/lb/maglev": back.kernel.maglev,
            "/v1/bpf/policy": back.kernel.policies,
            "/v1/bpf/ipcache": back.kernel.ipcache,
            "/v1/bpf/ct": back.kernel.ct,
            "/v1/bpf/nat": back.kernel.nat,
            "/v1/bpf/metrics": back.kernel.metrics,
            "/v1/bpf/endpoint": back.kernel.endpoint,
            "/v1/bpf/l2-responder": back.kernel.l2_responder,
        }
        named: dict[str, Callable[[str], Any]] = {
            "/v1/endpoints/{name}": back.endpoint,
            "/v1/endpoints/{name}/config": back.endpoint_options,
            "/v1/identities/{name}": back.identity,
            "/v1/maps/{name}": back.kernel.map,
            "/v1/bpf/lb/maglev/{name}": back.kernel.maglev_table,
            "/v1/bpf/policy/{name}": back.kernel.policy,
        }
        for path, answer in plain.items():
            application.router.add_get(path, _plain(answer))
        for path, by_name in named.items():
            application.router.add_get(path, _named(by_name))
        application.router.add_patch("/v1/endpoints/{name}/config", self._configure)
        application.router.add_get("/v1/policy/explain", self._explain)
        application.router.add_get("/v1/maps", self._maps)
        application.router.add_get("/v1/monitor", self._monitor)
        return application

    async def _configure(self, request: web.Request) -> web.StreamResponse:
        return _json(self._backend.configure_endpoint(request.match_info["name"], request.query))

    async def _explain(self, request: web.Request) -> web.StreamResponse:
        asked = (request.query.get(name, "") for name in ("from", "to", "port"))
        return _json(self._backend.explain(*asked))

    async def _maps(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._backend.kernel.maps(content="content" in request.query))

    async def _monitor(self, request: web.Request) -> web.StreamResponse:
        """Events as lines of JSON until the reader goes; `{"lost": n}` where some were lost."""
        hub, wanted = self._backend.monitor(), request.query.get("type", "")
        kinds = hub.kinds()
        if wanted and wanted not in kinds:
            raise NotFoundError(f"there is no event type {wanted}; there are {', '.join(sorted(kinds))}")
        with hub.listen(kinds.get(wanted, 0)) as listener:
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            while True:
                records = [hub.decode(record) for record in await listener.batch(STREAM_PAUSE)]
                if lost := listener.take_lost():
                    records.append({"lost": lost, "summary": f"{lost} events were lost"})
                if records:
                    await response.write(b"".join(orjson.dumps(record) + b"\n" for record in records))
                elif request.transport is None or request.transport.is_closing():
                    return response


def _json(data: Any, status: int = 200) -> web.Response:
    body = orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(body=body, status=status, content_type="application/json")


def _plain(answer: Callable[[], Any]) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return _json(await _settled(answer()))

    return handle


def _named(answer: Callable[[str], Any]) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return _json(await _settled(answer(request.match_info["name"])))

    return handle


async def _settled(answer: Any) -> Any:
    """Answers from tables are there at once, those from the kernel are coroutines."""
    return await answer if inspect.isawaitable(answer) else answer


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except NotFoundError as error:
        return _json({"error": str(error)}, 404)
    except BadRequestError as error:
        return _json({"error": str(error)}, 400)
    except UnavailableError as error:
        return _json({"error": str(error)}, 503)
    except web.HTTPException as error:
        return _json({"error": f"{request.path}: {error.reason.lower()}"}, error.status)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        log.exception("api_failure", path=request.path)
        return _json({"error": f"the agent failed on this request: {error}"}, 500)
