"""10,000 services of five pods: the operator against a real API server, and an agent's part on maps of the kernel.

No cluster: etcd, kube-apiserver and the operator's process (tests/api), and processes of service_run.py.
"""

import asyncio
import json
import os
import pathlib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import aiohttp

from seta_crds import names
from tests.api import controlplane
from tests.api.controlplane import ControlPlane, Operator
from tests.bench import report
from tests.bench import service_objects as objects

COUNT = 10_000
ROUNDS = 3
PARALLEL = 32
CHANGES = 5
WITHIN = 300.0
HOW = (
    f"{COUNT:,} services with {objects.BACKENDS} pods each. Operator: wall time and CPU time of its process, a real "
    f"API server beside it. Agent: CPU time from the listing's text to the kernel's maps; {ROUNDS} processes."
)
SERVICES = names.SERVICE.path("default")
SLICES = names.ENDPOINT_SLICE.path("default")
TABLES = names.SERVICE_TABLE.path("default")
Http = aiohttp.ClientSession


def measure() -> report.Section:
    figures = list(_operator())
    rounds = [_round() for _ in range(ROUNDS)]
    for n, first in enumerate(rounds[0]):
        same = [one[n] for one in rounds]
        name = f"agent: {first['step']} ({first['entries']:,} entries)"
        figures.append(report.Figure(name, "s", [one["seconds"] for one in same], goal=first["goal"]))
        if first["megabytes"] >= 1:
            figures.append(report.Figure(f"{name}, memory", "MB", [one["megabytes"] for one in same]))
    return report.Section("Services at scale", HOW, figures)


def _round() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.bench.service_run", str(COUNT)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    steps: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return steps


def _operator() -> Iterator[report.Figure]:
    with controlplane.control_plane() as plane:
        asyncio.run(_create(plane))
        operator = Operator(plane, "bench")
        started = time.monotonic()
        operator.start(WITHIN)
        try:
            yield report.Figure("operator: process start → all listed", "s", [time.monotonic() - started])
            listed = _spent(operator)
            yield report.Figure("operator: CPU time of that", "s", [listed])
            yield report.Figure(
                "operator: listed → all written", "s", [asyncio.run(_until_written(plane))], goal="< 20 s"
            )
            yield report.Figure("operator: its CPU time", "s", [_spent(operator) - listed])
            yield report.Figure("operator: resident memory then", "MB", [_resident(operator)])
            delays = asyncio.run(_changes(plane))
            yield report.Figure("operator: an endpoint changed → its table written", "s", delays)
        finally:
            operator.kill()


async def _create(plane: ControlPlane) -> None:
    async with _http(plane) as http:
        gate = asyncio.Semaphore(PARALLEL)

        async def post(path: str, body: dict[str, Any]) -> None:
            async with gate, http.post(path, json=body) as answer:
                answer.raise_for_status()

        for path, make in ((SERVICES, objects.service), (SLICES, objects.endpoint_slice)):
            await asyncio.gather(*[post(path, make(number)) for number in range(COUNT)])


async def _until_written(plane: ControlPlane) -> float:
    started = time.monotonic()
    async with _http(plane) as http:
        while await _count(http, TABLES) < COUNT:
            if time.monotonic() - started > WITHIN:
                raise TimeoutError(f"not all ServiceTables were written within {WITHIN:.0f} s")
            await asyncio.sleep(0.05)
    return time.monotonic() - started


async def _changes(plane: ControlPlane) -> list[float]:
    """Seconds from a changed EndpointSlice to its ServiceTable; each is one write."""
    delays = []
    async with _http(plane) as http:
        for number in range(CHANGES):
            path = f"{TABLES}/s{number}"
            before = int((await _get(http, path))["metadata"]["generation"])
            started = time.monotonic()
            async with http.put(f"{SLICES}/s{number}", json=objects.endpoint_slice(number, ready=4)) as answer:
                answer.raise_for_status()
            after = before
            while after == before:
                after = int((await _get(http, path))["metadata"]["generation"])
            delays.append(time.monotonic() - started)
            if after != before + 1:
                raise RuntimeError(f"one endpoint cost {after - before} writes")
    return delays


async def _count(http: Http, path: str) -> int:
    page = await _get(http, f"{path}?limit=1")
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))


async def _get(http: Http, path: str) -> dict[str, Any]:
    async with http.get(path) as answer:
        answer.raise_for_status()
        found: dict[str, Any] = await answer.json()
        return found


def _http(plane: ControlPlane) -> Http:
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(plane.authority)))
    headers = {"Authorization": f"Bearer {controlplane.ADMIN}"}
    return aiohttp.ClientSession(f"https://127.0.0.1:{plane.port}", connector=trust, headers=headers)


def _spent(operator: Operator) -> float:
    """CPU seconds of its process."""
    fields = _proc(operator, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(operator: Operator) -> float:
    return int(_proc(operator, "statm").split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def _proc(operator: Operator, name: str) -> str:
    return pathlib.Path("/proc", str(operator.pid), name).read_text()
