"""Thousands of API objects, fast: the API server's REST interface with the cluster's admin certificate."""

import asyncio
import base64
import pathlib
import ssl
import tempfile
from collections.abc import Iterable
from typing import Any

import aiohttp
import yaml

from tests.bench.cluster import Cluster

PARALLEL = 16  # more make them wait for each other at the allocation of addresses


def create(cluster: Cluster, path: str, objects: Iterable[dict[str, Any]]) -> None:
    """POST each object to `path`; raises aiohttp.ClientResponseError on the first refusal."""
    asyncio.run(_create(cluster, path, list(objects)))


async def _create(cluster: Cluster, path: str, objects: list[dict[str, Any]]) -> None:
    async with session(cluster) as http:
        gate = asyncio.Semaphore(PARALLEL)

        async def post(body: dict[str, Any]) -> None:
            async with gate, http.post(path, json=body) as response:
                response.raise_for_status()

        await asyncio.gather(*[post(body) for body in objects])


def delete(cluster: Cluster, path: str) -> None:
    async def send() -> None:
        async with session(cluster) as http, http.delete(path) as response:
            response.raise_for_status()

    asyncio.run(send())


def session(cluster: Cluster) -> aiohttp.ClientSession:
    """A session on the API server as the kubeconfig's user."""
    config = yaml.safe_load(pathlib.Path(cluster.env["KUBECONFIG"]).read_text())
    server = config["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=_inline(server, "certificate-authority").decode())
    user = config["users"][0]["user"]
    with tempfile.NamedTemporaryFile() as cert, tempfile.NamedTemporaryFile() as key:
        cert.write(_inline(user, "client-certificate"))
        key.write(_inline(user, "client-key"))
        cert.flush()
        key.flush()
        context.load_cert_chain(cert.name, key.name)
    return aiohttp.ClientSession(server["server"], connector=aiohttp.TCPConnector(ssl=context))


def _inline(section: dict[str, str], field: str) -> bytes:
    if f"{field}-data" in section:
        return base64.b64decode(section[f"{field}-data"])
    return pathlib.Path(section[field]).read_bytes()
