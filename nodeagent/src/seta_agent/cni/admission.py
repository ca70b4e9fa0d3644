"""When address ranges and nodes may have identities of their own: the barrier, for whom no pod waits.

One task of the agent. The operator makes such an identity when a policy names a range or tells nodes apart, and writes
the selector sets that contain it first. Until this agent has seen them an address keeps the identity it had: a range
that is split never loses, for a moment, what the wider one was allowed. Fills `tables.admitted`; the programmer puts
what stands there into the ipcache.
"""

import asyncio

import structlog

from seta_agent.cni.identity import IdentityResolver
from seta_agent.signals import Signal
from seta_agent.tables import Identity, Tables
from seta_crds.labels import CIDR_IDENTITIES

log = structlog.get_logger()
BARRIER_SECONDS = 10.0  # then it is told, and tried again


class Admission:
    """Owns `tables.admitted`."""

    def __init__(self, tables: Tables, resolver: IdentityResolver) -> None:
        self._tables = tables
        self._resolver = resolver
        self._changed = Signal()
        self._dirty: set[int] = set(filter(is_local, tables.identities.keys()))
        self._waiting: dict[int, asyncio.Task[None]] = {}  # identity -> its way through the barrier
        tables.identities.subscribe(self._mark, self._changed.fire)
        tables.selector_sets.subscribe(lambda _name: None, self._changed.fire)

    async def run(self) -> None:
        try:
            while True:
                self.step()
                await self._changed.wait()
        finally:
            for task in self._waiting.values():
                task.cancel()

    def step(self) -> None:
        """One look at what changed. Nothing is synced before sets are listed: after a restart nothing is taken away."""
        if not (self._tables.identities.synced and self._tables.selector_sets.synced):
            return
        dirty, self._dirty = self._dirty, set()
        for number in dirty:
            self._look(number)
        self._tables.admitted.synced = True

    def _look(self, number: int) -> None:
        row = self._tables.identities.get(number)
        if row is None:
            self._tables.admitted.delete(number)
        elif self._resolver.passes(row):
            self._tables.admitted.set(number, row)
        elif number not in self._waiting:
            self._waiting[number] = asyncio.create_task(self._wait(row))

    async def _wait(self, row: Identity) -> None:
        try:
            async with asyncio.timeout(BARRIER_SECONDS):
                await self._resolver.pass_barrier(row)
        except TimeoutError:
            log.warning("identity_waits_for_its_sets", identity=row.id)
        finally:
            del self._waiting[row.id]
            self._mark(row.id)

    def _mark(self, number: int) -> None:
        if is_local(number):
            self._dirty.add(number)
            self._changed.fire()


def is_local(number: int) -> bool:
    """Whether it is no pod's identity."""
    return number >= CIDR_IDENTITIES[0]
