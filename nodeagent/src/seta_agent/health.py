"""http://127.0.0.1:9879/healthz for the kubelet's probes: 200 when the datapath is programmed, else 503 and why.

Started by the agent before anything else, so that a probe gets a sentence and not a refused connection. Plain asyncio:
the one path needs no framework.
"""

import asyncio
import contextlib
from collections.abc import Callable

ADDRESS, PORT = "127.0.0.1", 9879
REQUEST_SECONDS = 5.0


class HealthServer:
    """`state` returns an empty string when all is well, else a sentence."""

    def __init__(self, state: Callable[[], str], port: int = PORT) -> None:
        self._state = state
        self._port = port

        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Raises OSError where the port is taken."""
        self._server = await asyncio.start_server(self._answer, ADDRESS, self._port)

    async def run(self) -> None:
        """Serves until cancelled."""
        assert self._server is not None, "open() comes first"  # noqa: S101
        async with self._server:
            await self._server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(response(head, self._state()))
            await writer.drain()
        writer.close()


def response(head: bytes, sentence: str) -> bytes:
    """The whole HTTP answer; pure."""
    path = head.split(b" ")[1] if head.count(b" ") >= 2 else b""
    if path != b"/healthz":
        status, text = b"404 Not Found", "only /healthz is here"
    elif sentence:
        status, text = b"503 Service Unavailable", sentence
    else:
        status, text = b"200 OK", "ok"
    body = text.encode() + b"\n"
    return b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )
