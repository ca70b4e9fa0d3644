"""Which operator decides, where several run: the holder of one Lease, as with Kubernetes' own controllers.

A standby watches everything and writes nothing, so that it goes on where the leader ended, within seconds. Nobody's
clock counts but one's own: a leader stops to write when it could not renew for DEADLINE, counted from before it asked;
a standby takes over when it has seen no renewal for DURATION. Run by app.py; who writes asks `may_write` (api.py).
"""

import asyncio
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import structlog

from seta_crds import names
from seta_operator.store import errors
from seta_operator.store.api import Api, Pace

NAME = "seta-operator"  # of the Lease
DURATION, DEADLINE, RETRY = 10.0, 6.0, 2.0  # seconds
AGAIN = 0.5  # seconds after an attempt that failed: there is time for another before DEADLINE
PACE = Pace(at_once=1, read=2.0, write=2.0)  # of the client; its own, since a renewal waits behind nothing
log = structlog.get_logger()


class LostError(Exception):
    """Another operator decides now: this one has to start anew, from what that one writes."""


class Leadership:
    """One operator's share in the Lease."""

    def __init__(self, api: Api, namespace: str, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`identity`: whose a new process goes on with: two never run under one. `clock`: monotonic."""
        self._api, self._namespace, self._identity, self._clock = api, namespace, identity, clock
        self._until = 0.0  # when this operator may write no more
        self._seen: tuple[str, float] | None = None  # resourceVersion of somebody's Lease, and when it was seen first
        self.won = asyncio.Event()  # set when it leads for the first time

    def may_write(self) -> bool:
        """Whether nobody else can be leading yet."""
        return self._clock() < self._until

    async def run(self) -> None:
        """Stand, lead, renew; for ever.

        Raises:
            LostError: another one leads.

        """
        while True:
            pause = RETRY
            try:
                await self.attempt()
            except errors.ApiError as error:
                log.info("leadership.unknown", error=str(error))
                pause = AGAIN
            await asyncio.sleep(pause)

    async def attempt(self) -> None:
        """Renew, or take over from one that does not, once."""
        asked = self._clock()
        lease = await self._read()
        if lease is not None and not self._is_open(lease):
            if self.won.is_set():
                raise LostError(f"{lease['spec']['holderIdentity']} leads now")
            return
        try:
            await self._write(lease, self._identity)
        except errors.ConflictError:
            return
        self._until = asked + DEADLINE
        if not self.won.is_set():
            log.info("leadership.won", identity=self._identity)
            self.won.set()

    async def resign(self) -> None:
        """At a clean end: the next one need not wait."""
        if not self.may_write():
            return
        self._until = 0.0
        try:
            lease = await self._read()
            if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                await self._write(lease, "")
        except errors.ApiError as error:
            log.info("leadership.kept", error=str(error))

    def _is_open(self, lease: dict[str, Any]) -> bool:
        """Whether it may be taken: it is ours or nobody's, or has not been renewed for long enough."""
        holder, version, now = lease["spec"].get("holderIdentity"), lease["metadata"]["resourceVersion"], self._clock()
        if holder in ("", None, self._identity):
            return True
        if self._seen is None or self._seen[0] != version:
            self._seen = version, now
        return now - self._seen[1] >= DURATION

    async def _read(self) -> dict[str, Any] | None:
        try:
            return await self._api.read(names.LEASE, self._namespace, NAME)
        except errors.NotFoundError:
            return None

    async def _write(self, lease: dict[str, Any] | None, holder: str) -> None:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = lease["spec"] if lease is not None else {}
        renewed = {"holderIdentity": holder, "leaseDurationSeconds": int(DURATION), "renewTime": now}
        if before.get("holderIdentity") != holder:
            renewed |= {"acquireTime": now, "leaseTransitions": before.get("leaseTransitions", 0) + 1}
        if lease is not None:
            await self._api.replace(names.LEASE, {**lease, "spec": {**before, **renewed}})
            return
        head = {"apiVersion": names.LEASE.api_version, "kind": names.LEASE.kind}
        meta = {"name": NAME, "namespace": self._namespace}
        await self._api.create(names.LEASE, {**head, "metadata": meta, "spec": {**renewed, "leaseTransitions": 0}})
