"""cilium_events → whoever listens. Owned by the agent; the API subscribes one listener per `seta monitor`.

The ring is drained only while somebody listens: without a listener the kernel overwrites nothing and the agent does
nothing (a full ring costs a producer one failed reservation). Losses, the kernel's and slow listeners', are counted and
told to the listeners.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import structlog

from seta_agent.monitor import decode
from seta_agent.monitor.why import Why

log = structlog.get_logger()

BACKLOG = 4096  # events that a listener may be behind; more are lost to it
LOSS_SECONDS = 1.0  # between looks at the kernel's own count of losses
Array = np.ndarray[Any, np.dtype[Any]]


class Ring(Protocol):
    """`seta_agent.bpf.ringbuf.RingBuffer`, or a test's."""

    fd: int

    def read(self, most: int = 65536) -> Array: ...

    def close(self) -> None: ...


class Listener:
    """One reader's queue. `kind` is an event type, or 0 for all."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._queue: asyncio.Queue[Any] = asyncio.Queue(BACKLOG)
        self.lost = 0  # events it was too slow for, and those the kernel had no room for

    def offer(self, records: Array) -> None:
        chosen = records if self._kind == 0 else records[records["type"] == self._kind]
        room = BACKLOG - self._queue.qsize()
        self.lost += max(0, len(chosen) - room)
        for record in chosen[:room]:
            self._queue.put_nowait(record)

    async def batch(self, seconds: float) -> list[Any]:
        """What has come, at least one event; empty after `seconds` without any."""
        with contextlib.suppress(TimeoutError):
            records = [await asyncio.wait_for(self._queue.get(), seconds)]
            while not self._queue.empty():
                records.append(self._queue.get_nowait())
            return records
        return []

    def take_lost(self) -> int:
        lost, self.lost = self.lost, 0
        return lost


class MonitorHub:
    """Opens the ring for the first listener, closes it after the last."""

    def __init__(
        self, open_ring: Callable[[], Ring], kernel_losses: Callable[[], int], names: decode.Enums, why: Why
    ) -> None:
        self._why = why
        self._open_ring = open_ring
        self._kernel_losses = kernel_losses  # events that found the ring full, since the node's start
        self._names = names
        self._listeners: set[Listener] = set()
        self._ring: Ring | None = None
        self._losses = 0
        self._losses_read = 0.0

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def kinds(self) -> dict[str, int]:
        """Event type by name."""
        return {name: number for number, name in self._names.types.items()}

    def decode(self, record: Any) -> dict[str, Any]:
        return decode.decode(record, self._names, self._why)

    @contextlib.contextmanager
    def listen(self, kind: int) -> Iterator[Listener]:
        """Events from now on. Raises what opening the ring raises."""
        if self._ring is None:
            self._start()
        listener = Listener(kind)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._stop()

    def _start(self) -> None:
        self._ring = self._open_ring()
        while len(self._ring.read()):  # what was left from before is nobody's news
            pass
        self._losses = self._kernel_losses()
        asyncio.get_running_loop().add_reader(self._ring.fd, self._drain)

    def _stop(self) -> None:
        if self._ring is not None:
            asyncio.get_running_loop().remove_reader(self._ring.fd)
            self._ring.close()
            self._ring = None

    def _drain(self) -> None:
        assert self._ring is not None  # noqa: S101 - registered only while it is open
        records = self._ring.read()
        for listener in self._listeners:
            listener.offer(records)
        now = asyncio.get_running_loop().time()
        if now - self._losses_read >= LOSS_SECONDS:
            self._losses_read = now
            self._tell_losses()

    def _tell_losses(self) -> None:
        losses = self._kernel_losses()
        for listener in self._listeners:
            listener.lost += losses - self._losses
        self._losses = losses
