"""What is left of UDP backends that a service no longer has. A task of `node`.

Run when a UDP backend left a service, and now and then. TCP says by itself that its peer is gone; a UDP client would go
on sending to an address that nobody has, or that another pod has by now. So sockets that a service led to such a
backend are closed, and their owners ask the service anew; and connections that were led packet by packet are forgotten
(`staleconnections`). Nothing else is touched: not what a terminating backend has, not sockets that named the backend's
own address, not TCP sockets.

Level-based: cilium_lb4_reverse_sk says which socket was led where by which frontend, the tables say which backends
that frontend's service has. What is remembered is read first, so that a backend that comes meanwhile is not taken for
one that went.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor
from pathlib import Path

import numpy as np
import structlog

from seta_agent.bpf.errors import BpfError
from seta_agent.bpf.maps import Array
from seta_agent.desired import lb
from seta_agent.programmer import devices, staleconnections
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.offers import Offers, Place, UdpBackends, is_offered
from seta_agent.programmer.sockdiag import DiagError, SockDiag
from seta_agent.settings import Settings
from seta_agent.tables import Tables

log = structlog.get_logger()
FAMILIES = ("4", "6")  # part of the maps' names
MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
PAUSE_SECONDS, REGULAR_SECONDS = 1.0, 60.0


class StaleUdp:
    """The task. `applied` is called after each pass that got through, once everything has been listed."""

    def __init__(self, settings: Settings, tables: Tables, maps: Callable[[], KernelMaps]) -> None:
        self._directory = settings.netns_dir
        self._endpoints = tables.endpoints
        self._maps = maps
        self._backends = UdpBackends(tables.services)
        self._due = asyncio.Event()
        self.closed = 0  # sockets
        self.forgotten = 0  # connections

    def applied(self) -> None:
        if self._backends.left:
            self._backends.left = False
            self._due.set()

    async def run(self) -> None:
        """At once after a backend left, then at most once a second; and regularly, once it has begun."""
        await self._due.wait()
        while True:
            self._due.clear()
            offers, namespaces = self._backends.offers(), self._namespaces()
            try:
                self.forgotten += await asyncio.to_thread(staleconnections.forget, self._maps(), offers)
                self.closed += await asyncio.to_thread(close_sockets, self._maps(), offers, namespaces)
            except BpfError as error:
                log.warning("stale_backends_stay", error=str(error))
                self._due.set()
            await asyncio.sleep(PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REGULAR_SECONDS):
                    await self._due.wait()

    def _namespaces(self) -> list[Path]:
        """Of the pods, as far as they are known by name."""
        return [self._directory / Path(row.netns).name for row in self._endpoints if row.netns]


def close_sockets(maps: KernelMaps, offers: Offers, namespaces: Iterable[Path]) -> int:
    """In the node's own network namespace and in those named: how many were closed. Blocking; `BpfError`."""
    led: dict[int, set[Place]] = {}  # cookie of a socket -> where it should not send to any more
    for family in FAMILIES:
        for cookie, number, place in _not_offered(maps, family):
            if not is_offered(offers, number, place):
                led.setdefault(cookie, set()).add(place)
    if not led:
        return 0
    closed = _close_here(led)
    for path in namespaces:
        with contextlib.suppress(OSError, BrokenExecutor):  # a namespace that has ended, or lets nobody in
            netns_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                closed += devices.in_netns(netns_fd, _close_here, led)
            finally:
                os.close(netns_fd)
    return closed


def _not_offered(maps: KernelMaps, family: str) -> list[tuple[int, int, Place]]:
    """Cookie, reverse NAT index and backend of each socket that was led where no slot of that frontend leads now."""
    keys, values = _dump(maps, f"cilium_lb{family}_reverse_sk")
    if not len(keys):
        return []
    numbers = values["rev_nat_index"]
    stale = ~np.isin(_digest(keys["address"], keys["port"], numbers), _in_slots(maps, family))
    places = zip(lb.addresses(keys[stale]), keys["port"][stale], strict=True)
    cookies = zip(keys["cookie"][stale], numbers[stale], places, strict=True)
    return [(int(cookie), int(number), (address, int(port))) for cookie, number, (address, port) in cookies]


def _in_slots(maps: KernelMaps, family: str) -> Array:
    """Digests of backend's address and port, and frontend's reverse NAT index, of every slot (n,)."""
    keys, slots = _dump(maps, f"cilium_lb{family}_services_v2")
    slots = slots[keys["backend_slot"] != 0]
    numbers, backends = _dump(maps, f"cilium_lb{family}_backends_v3")
    if not len(numbers):
        return np.empty(0, np.uint64)
    order = np.argsort(numbers)
    at = np.minimum(np.searchsorted(numbers, slots["backend_id"], sorter=order), len(numbers) - 1)
    known = numbers[order[at]] == slots["backend_id"]
    chosen = backends[order[at[known]]]
    return _digest(chosen["address"], chosen["port"], slots["rev_nat_index"][known])


def _digest(addresses: Array, ports: Array, numbers: Array) -> Array:
    """64 bits per row, to compare by. Two rows with one digest only keep a socket open."""
    raw = np.zeros((len(addresses), 16), np.uint8)
    raw[:, : addresses.dtype.itemsize] = np.frombuffer(addresses.tobytes(), np.uint8).reshape(len(addresses), -1)
    words = raw.view(np.uint64)
    rest = ports.astype(np.uint64) << np.uint64(16) | numbers.astype(np.uint64)
    mixed: Array = words[:, 0] * MIX[0] ^ words[:, 1] * MIX[1] ^ rest * MIX[2]
    return mixed


def _dump(maps: KernelMaps, name: str) -> tuple[Array, Array]:
    with contextlib.closing(maps.open(name)) as opened:
        return opened.dump()


def _close_here(led: Mapping[int, set[Place]]) -> int:
    """In the calling thread's network namespace."""
    closed = 0
    with SockDiag() as diag:
        try:
            for found in list(diag.connected()):
                if (found.peer, found.port) in led.get(found.cookie, ()):
                    closed += diag.close_for_owner(found)
        except DiagError as error:
            log.warning("stale_sockets_stay", error=str(error))
    return closed
