"""Endpoints and this node's own addresses on disk, so that an agent starts with what it knew, without the API server.

Written by the endpoint store and by `main`, read once at start. The files live in the run directory: they describe
kernel objects and may go when those go, with a reboot. Written whole beside the old one and then renamed: a reader
sees the old or the new content, never a part.
"""

import contextlib
import dataclasses
import ipaddress
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import structlog

from seta_agent.tables import Endpoint, Node

log = structlog.get_logger()


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replaces the file atomically. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, mode)  # noqa: PTH101 - the name is a string here anyway
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _plain(value: object) -> object:
    if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network)):
        return str(value)
    raise TypeError(type(value).__name__)


def save_endpoint(directory: Path, endpoint: Endpoint) -> None:
    content = orjson.dumps(dataclasses.asdict(endpoint), default=_plain, option=orjson.OPT_INDENT_2)
    write(directory / f"{endpoint.id}.json", content)


def forget_endpoint(directory: Path, endpoint_id: int) -> None:
    (directory / f"{endpoint_id}.json").unlink(missing_ok=True)


def load_endpoints(directory: Path) -> Iterator[Endpoint]:
    """Every endpoint that can be read; a file that cannot is reported, and removed: it could never be used."""
    for path in sorted(directory.glob("*.json")):
        try:
            yield _endpoint(orjson.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("endpoint_state_unreadable", path=str(path), error=str(error))
            path.unlink(missing_ok=True)


def _endpoint(fields: dict[str, Any]) -> Endpoint:
    known = {field.name for field in dataclasses.fields(Endpoint)}
    kept = {name: value for name, value in fields.items() if name in known}
    kept["ipv4"] = ipaddress.IPv4Address(fields["ipv4"])
    kept["ipv6"] = ipaddress.IPv6Address(fields["ipv6"]) if fields.get("ipv6") else None
    kept["labels"] = tuple(fields.get("labels") or ())
    kept["named_ports"] = tuple(tuple(port) for port in fields.get("named_ports") or ())
    return Endpoint(**kept)


def save_node(path: Path, node: Node) -> None:
    write(path, orjson.dumps(dataclasses.asdict(node), default=_plain))


def load_node(path: Path) -> Node | None:
    """The node as it was last known, but for its uid: another may have its name by now. None where some is missing."""
    try:
        fields = orjson.loads(path.read_bytes())
        return Node(
            name=fields["name"],
            internal_ips=tuple(ipaddress.ip_address(text) for text in fields["internal_ips"]),
            router_ips=tuple(ipaddress.ip_address(text) for text in fields["router_ips"]),
            pod_cidrs=tuple(ipaddress.ip_network(text) for text in fields["pod_cidrs"]),
            identity=int(fields["identity"]),
            kube_apiserver=bool(fields["kube_apiserver"]),
            zone=str(fields["zone"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
