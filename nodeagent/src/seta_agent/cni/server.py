"""The socket that the plugin speaks to. Started by `main` when the datapath is programmed.

One connection per CNI command; the protocol is in the head comment of nodeagent/plugin/seta-cni.c. Plain socket calls
and no stream: the descriptor of the pod's network namespace comes with the first byte, and only recvmsg can take it.
"""

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path

import orjson
import structlog

from seta_agent.cni import request, result
from seta_agent.cni.commands import Commands
from seta_agent.cni.errors import CniError, Code

log = structlog.get_logger()

MOST = 2 << 20  # bytes of a request; the plugin sends at most 1 MiB of config and 64 KiB of variables
READ_SECONDS = 10.0
CHUNK = 65536


class CniServer:
    """Listens on `path` (0600: only root may have interfaces made)."""

    def __init__(self, path: Path, commands: Commands) -> None:
        self._path = path
        self._commands = commands
        self._listener: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._path.unlink(missing_ok=True)  # of an agent that was killed; a socket file cannot be bound twice
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        listener.listen(128)
        self._listener = listener

    async def run(self) -> None:
        """Serves until cancelled; commands that are under way then are cancelled too."""
        assert self._listener is not None, "open() comes first"  # noqa: S101
        loop = asyncio.get_running_loop()
        try:
            while True:
                connection, _ = await loop.sock_accept(self._listener)
                task = asyncio.create_task(self._serve(connection))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
        finally:
            self._listener.close()
            self._path.unlink(missing_ok=True)
            for task in self._connections:
                task.cancel()

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003
        with connection, contextlib.ExitStack() as opened:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    data, netns_fd = await receive(connection)
            except (TimeoutError, OSError) as error:
                log.warning("cni_request_unreadable", error=str(error))
                return
            if netns_fd is not None:
                opened.callback(os.close, netns_fd)
            answer = await self._answer(data, netns_fd)
            with contextlib.suppress(OSError):  # the plugin gave up; its runtime asks again
                await asyncio.get_running_loop().sock_sendall(connection, answer)

    async def _answer(self, data: bytes, netns_fd: int | None) -> bytes:
        try:
            parsed = request.parse(data)
            with structlog.contextvars.bound_contextvars(container=parsed.container_id[:12]):
                answer = await self._commands.run(parsed, netns_fd)
        except CniError as error:
            log.info("cni_error", code=int(error.code), error=str(error))
            return encode(error.code, result.error_result(error, request.version_of(data)))
        except Exception as error:
            log.exception("cni_failure")
            failure = CniError(Code.IO_FAILURE, "the agent failed on this request; its log says where", str(error))
            return encode(failure.code, result.error_result(failure, request.version_of(data)))
        return encode(0, answer)


def encode(code: int, answer: dict[str, object]) -> bytes:
    return b"%d\n" % code + (orjson.dumps(answer) + b"\n" if answer else b"")


async def receive(connection: socket.socket) -> tuple[bytes, int | None]:
    """The whole request, and the descriptor that came with it (the caller closes it)."""
    first, descriptors = await _receive_first(connection)
    try:
        data = bytearray(first)
        loop = asyncio.get_running_loop()
        while first and (chunk := await loop.sock_recv(connection, CHUNK)):
            data += chunk
            _check_size(len(data))
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    for spare in descriptors[1:]:
        os.close(spare)
    return bytes(data), descriptors[0] if descriptors else None


def _check_size(length: int) -> None:
    if length > MOST:
        raise OSError(f"a request of more than {MOST} bytes")


async def _receive_first(connection: socket.socket) -> tuple[bytes, list[int]]:
    await _readable(connection)
    length = socket.CMSG_SPACE(struct.calcsize("i"))
    data, ancillary, _, _ = connection.recvmsg(CHUNK, length, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(content) // 4 * 4
            descriptors += [number for (number,) in struct.iter_unpack("i", content[:whole])]
    return data, descriptors


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, arrived)
    try:
        await ready
    finally:
        loop.remove_reader(connection)
