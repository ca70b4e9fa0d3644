"""What the kernel's tables need though nothing has changed, and after a change besides it. Called by `node`.

Connections that lost their allow are cut, entries that are over are swept, and now and then everything is looked at
again, since strangers may have changed our maps, routes and links.
"""

import asyncio
from collections.abc import Callable

import structlog

from seta_agent.bpf.errors import BpfError
from seta_agent.programmer import cutoff, gc
from seta_agent.programmer.endpoints import EndpointStage
from seta_agent.programmer.identities import IPCACHE, LXC
from seta_agent.programmer.nodesetup import NodeSetup

RECHECK_SECONDS = 300.0
SWEEP_SECONDS = 60.0
CUT_SECONDS = 1.0  # between two looks at all connections
log = structlog.get_logger()


class Upkeep:
    """`recheck`: take nothing for granted in the next pass."""

    def __init__(self, setup: NodeSetup, endpoints: EndpointStage, recheck: Callable[[], None]) -> None:
        self._setup = setup
        self._endpoints = endpoints
        self._recheck = recheck
        self._judge = asyncio.Event()  # set: connections may have lost their allow, or got it back
        self.replaced = 0  # endpoints and addresses that had got another policy or identity, when last looked
        self.swept: dict[str, int] = {}  # map -> entries that the last sweep deleted
        self.judged = 0  # connections that were cut, or let go on

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recheck_regularly())
            tasks.create_task(self._sweep_regularly())
            tasks.create_task(self._judge_connections())

    def passed(self) -> None:
        """After a pass: whether what connections live from is another now."""
        replaced = sum(self._setup.maps.reconciler(name).replaced for name in (IPCACHE, LXC))
        if self._setup.policy_maps.take_changed() or replaced != self.replaced:
            self.judge()
        self.replaced = replaced

    def judge(self) -> None:
        """Look at every connection again."""
        self._judge.set()

    async def _recheck_regularly(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                self._recheck()
            except BpfError as error:
                log.warning("recheck_failed", reason=str(error))

    async def _sweep_regularly(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                self.swept = await asyncio.to_thread(gc.collect, self._setup.maps)
            except BpfError as error:
                log.warning("collecting_failed", reason=str(error))

    async def _judge_connections(self) -> None:
        """At once after a change, then at most once a second."""
        while True:
            await self._judge.wait()
            self._judge.clear()
            try:
                self.judged += await asyncio.to_thread(cutoff.sweep, self._setup.maps, self._endpoints.subjects())
            except BpfError as error:
                log.warning("cutting_failed", reason=str(error))
                self._judge.set()
            await asyncio.sleep(CUT_SECONDS)
