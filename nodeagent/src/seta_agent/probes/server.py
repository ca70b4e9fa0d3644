"""A port on which each GET is answered at once and the connection closed. Used by everything that is probed.

Plain asyncio: a path and a status need no framework, and an idle port costs a socket.
"""

import asyncio
import contextlib
import dataclasses
import errno
import os
import socket
from collections.abc import Callable, Mapping

REQUEST_SECONDS = 5.0
STATUS = {200: b"200 OK", 404: b"404 Not Found", 503: b"503 Service Unavailable"}
UNSPECIFIED = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - load balancers probe from outside
NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"Content-Type": "text/plain"})


Respond = Callable[[str], Answer]  # of the path that was asked for


class ProbeServer:
    """`address` "": every address of the node, of both families. `local`: on which of them it answers."""

    def __init__(
        self, respond: Respond, port: int, address: str = "", *, local: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._respond = respond
        self._port = port
        self._address = address
        self._local = local
        self._servers: list[asyncio.Server] = []

    async def open(self) -> str:
        """Answers from now on; "". Or, in words, why it cannot: the port may be taken. Then nothing of it is open."""
        try:
            for listener in listeners(self._address, self._port):
                self._servers.append(await asyncio.start_server(self._serve, sock=listener))
        except OSError as error:
            self.close()
            return f"port {self._port} cannot be opened: {os.strerror(error.errno or 0)}"
        return ""

    def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            if self._local(writer.get_extra_info("sockname")[0]):
                async with asyncio.timeout(REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(response(head, self._respond))
                await writer.drain()
        writer.close()


def listeners(address: str, port: int) -> list[socket.socket]:
    """Listening sockets: one, or for "" one of each family that the node has. OSError where one is taken."""
    families = list(UNSPECIFIED) if not address else [socket.AF_INET6 if ":" in address else socket.AF_INET]
    opened: list[socket.socket] = []
    for family in families:
        try:
            opened.append(socket.create_server((address or UNSPECIFIED[family], port), family=family))
        except OSError as error:
            if family is socket.AF_INET6 and opened and error.errno in NO_IPV6:
                continue
            for other in opened:
                other.close()
            raise
    return opened


def response(head: bytes, respond: Respond) -> bytes:
    """The whole HTTP answer; pure. `head` is the request up to its empty line; what is none asks for no path."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    answer = respond(words[1].partition(b"?")[0].decode("latin-1") if len(words) > 2 else "")
    body = answer.body.encode()
    headers = {**answer.headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [b"HTTP/1.1 " + STATUS[answer.status], *(f"{name}: {value}".encode() for name, value in headers.items())]
    return b"\r\n".join([*lines, b"", b""]) + body
