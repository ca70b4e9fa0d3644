"""The agent's API over its unix socket, on the node itself. Called by `main` and the monitor.

Plain HTTP/1.0 by hand: http.client would cost a third of a command's whole run time, and the answers have one shape.
"""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from seta_agent.cli.errors import CliError

SECONDS = 30.0


def socket_path() -> Path:
    return Path(os.environ.get("SETA_RUN_DIR", "/var/run/seta")) / "seta.sock"


def is_here() -> bool:
    """Whether this is a node (or the agent's container): its socket is where it should be."""
    return socket_path().exists()


def ask(method: str, path: str) -> Any:
    """The answer's JSON. Raises CliError with the agent's own sentence."""
    with _open(method, path, SECONDS) as answer:
        status = _status(answer)
        try:
            data = json.loads(answer.read())
        except (ValueError, OSError) as error:
            raise CliError(f"the agent's answer cannot be read: {error}") from error
    if status != 200:
        raise CliError(data.get("error", f"the agent answered with status {status}"))
    return data


def stream(path: str) -> Iterator[Any]:
    """Lines of JSON as they come; ends when the agent does."""
    with _open("GET", path, None) as answer:
        status = _status(answer)
        for line in answer:
            item = json.loads(line)
            if status != 200:
                raise CliError(item.get("error", f"the agent answered with status {status}"))
            yield item


def _open(method: str, path: str, seconds: float | None) -> BinaryIO:
    where = socket_path()
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(seconds)
        with connection:
            connection.connect(str(where))
            connection.sendall(f"{method} {path} HTTP/1.0\r\nHost: seta\r\n\r\n".encode())
            return connection.makefile("rb")
    except PermissionError as error:
        raise CliError(f"no permission to open {where}; run seta as root") from error
    except OSError as error:
        raise CliError(f"the agent does not answer at {where} ({error.strerror}); is it running?") from error


def _status(answer: BinaryIO) -> int:
    """The status code; reads to the end of the head."""
    try:
        first = answer.readline().split()
        while answer.readline().strip():
            pass
    except OSError as error:
        raise CliError(f"the agent does not answer: {error}") from error
    if len(first) < 2 or not first[1].isdigit():
        raise CliError("the agent closed the connection; it may be restarting")
    return int(first[1])
