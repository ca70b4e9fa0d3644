"""Whether this node may answer for announced addresses now, and for which. The one owner of that state.

A renewal of the heartbeat allows answers until its own start plus the renew deadline, well before the operator would
give the addresses away; the datapath itself stops then. After a lapse, and at the agent's start, answers begin in an
order in which operator and node cannot both be wrong: renewed; listed anew what this node is to announce; maps;
deadline. The operator takes addresses from a silent node first, looks at its lease once more, and only then gives them
away: so it sees the renewal, or the node sees that they are taken. A clean end is no lapse: the next agent has most of
a lease's duration to come up.

Where the list cannot be put into effect, the heartbeat says so (`able`), and answers end with the deadline. From then
on this node answers for nothing, and never will for what is not in a list read later: so each list that it has read may
be reported like one in effect. If none can be read there is nothing to report: it is silent until it counts as dead.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import structlog

from seta_agent.bpf.errors import BpfError
from seta_agent.desired import l2
from seta_agent.desired.l2 import Answer, Link
from seta_agent.kube import KubeClient, KubeError
from seta_agent.l2 import heartbeat
from seta_agent.settings import Settings
from seta_agent.signals import Signal
from seta_agent.tables import Node, NodeAnnouncements, Table
from seta_agent.watch import sources

log = structlog.get_logger()
SECOND = 1_000_000_000
AGAIN_SECONDS = 1.0  # until the kernel is asked again that refused an entry
GAP_SECONDS = 0.02  # between renewals, where news follow on news
FAREWELL = 0.8  # of a lease's duration, for the next agent to come up in; the rest is for clocks that run apart
MUTE = 3  # times in a row that nothing could be reported, before it is silent
SILENCE = 2  # lease durations, so that nobody's clock is too slow for it
NEVER = float("inf")


class Responder(Protocol):
    def apply(self, wanted: Collection[Answer], links: Mapping[str, Link]) -> set[Answer]: ...
    def until(self, nanoseconds: int) -> None: ...


class Herald(Protocol):
    def announce(self, fresh: Collection[Answer], links: Mapping[str, Link]) -> None: ...
    def listen(self, wanted: Collection[Answer]) -> None: ...


def boot_time() -> int:
    """Nanoseconds, also those that the machine slept: the clock of the datapath's deadline."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Holder:
    """`links`: name -> native device, as it is now. Nothing happens before `run` (or, in tests, `beat`)."""

    def __init__(
        self,
        settings: Settings,
        nodes: Table[str, Node],
        client: KubeClient,
        *,
        namespace: str,
        links: Callable[[], Mapping[str, Link]],
        responder: Responder,
        herald: Herald,
        clock: Callable[[], int] = boot_time,
    ) -> None:
        self._settings, self._name = settings, settings.node_name
        self._nodes, self._client, self._namespace = nodes, client, namespace
        self._links, self._responder, self._herald, self._clock = links, responder, herald, clock
        self._lasts = round(settings.l2_announcements_renew_deadline * SECOND)
        self._deadline = 0  # ns; until when answers are allowed by the last renewal
        self._holding = False  # allowed, and the maps follow the announcements
        self._refused = False  # the kernel has not taken what is wanted now
        self._unable_until = 0  # ns; by the last failure, so that a node that fails again and again is not chosen
        self._unreported = 0  # times in a row that nothing could be taken up, nor reported
        self._announced: Table[str, NodeAnnouncements] = Table("nodeannouncements")
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._held: set[Answer] = set()
        self._in_effect = ("", 0)  # uid and generation of the announcements that the maps follow, or last followed
        self._told: heartbeat.State | None = None  # with the last renewal
        self._news = asyncio.Event()  # something to tell before the next renewal is due
        self._error = ""

    @property
    def held(self) -> Collection[Answer]:
        return self._held

    async def run(self) -> None:
        """Renews until cancelled; what was announced then goes on until the deadline."""
        await Signal(self._nodes).until(self._owner, NEVER)
        while True:
            started = self._clock()
            renewed = await self.beat()
            await self._pause((self._clock() - started) / SECOND, renewed=renewed)

    async def beat(self) -> bool:
        """One renewal, with all that follows from it. False where this node may not answer on the strength of it."""
        owner, started = self._owner(), self._clock()
        if owner is None:
            return False
        self._news.clear()
        state = self.state()
        try:
            async with asyncio.timeout(self._settings.l2_announcements_renew_deadline / 2):
                seconds = self._settings.l2_announcements_lease_duration
                await heartbeat.renew(self._client, owner, self._namespace, state, seconds=seconds)
        except (KubeError, TimeoutError) as error:
            return self._failed(f"the heartbeat cannot be renewed: {str(error) or 'no answer in time'}")
        self._told = state
        self.expire()
        if self._refused and self._holding:
            return False
        if not self._holding and not await self._take_up(started):
            return False
        if self._clock() >= started + self._lasts:
            return self._failed("the API server answers too slowly")
        self._extend(started)
        return True

    async def last_beat(self) -> None:
        """The agent ends, and answers go on for the next one, which nothing but its own start can keep from renewing.

        Until most of a lease's duration has passed since then the operator gives nothing away.
        """
        if self._holding:
            self._lasts = round(self._settings.l2_announcements_lease_duration * FAREWELL * SECOND)
            await self.beat()

    def links_changed(self) -> None:
        self._apply()
        self._tell()

    def expire(self) -> None:
        """Called whenever time may have passed."""
        if self._holding and self._clock() >= self._deadline:
            log.warning("l2_lapsed", answers=len(self._held), error=self._error)
            self._stop()
            with contextlib.suppress(BpfError):  # the deadline, which has passed, is what counts
                self._responder.apply((), self._links())

    def close(self) -> None:
        """What is in the kernel goes on until the deadline."""
        self._stop()

    def state(self) -> heartbeat.State:
        uid, released = self._in_effect
        links = {name: link.up for name, link in sorted(self._links().items())}
        return heartbeat.State(uid, released, links, able=not self._unreported and self._clock() >= self._unable_until)

    def describe(self) -> dict[str, Any]:
        """For `seta status`: plain values only."""
        row = self._announced.get(self._name) if self._holding else None
        return {
            "holding": self._holding,
            "seconds_left": round(max(0.0, (self._deadline - self._clock()) / SECOND), 3) if self._holding else 0.0,
            "services": [f"{service.namespace}/{service.name}" for service in row.services] if row else [],
            "answers": len(self._held),
            "interfaces": {name: link.up for name, link in self._links().items()},
            "error": self._error,
        }

    def _owner(self) -> Node | None:
        """The row of this node, once the API server has told its uid."""
        node = self._nodes.get(self._name)
        return node if node is not None and node.uid else None

    async def _take_up(self, started: int) -> bool:
        """After a renewal: list what is ours, and bring the maps there. A watch of before may lag behind."""
        self._follow(listed := asyncio.Event())
        try:
            async with asyncio.timeout((started + self._lasts - self._clock()) / SECOND):
                await listed.wait()
        except TimeoutError:
            self._stop()
            self._unreported += 1
            return self._unable("what this node is to announce cannot be listed")
        self._check_watch()
        self._holding = True
        if self._apply():
            self._unreported = 0
        else:
            self._give_up()
        return self._holding

    def _give_up(self) -> None:
        """Answer for nothing: then what is listed may be reported, and what is not may be another node's."""
        row = self._announced.get(self._name)
        self._stop()
        try:
            self._responder.until(0)
        except BpfError:  # what an agent before this one allowed may go on
            self._unreported += 1
            return
        self._unreported, self._in_effect = 0, (row.uid, row.generation) if row else ("", 0)

    def _follow(self, listed: asyncio.Event) -> None:
        self._stop()
        table: Table[str, NodeAnnouncements] = Table("nodeannouncements")
        table.subscribe(self._announced_changed, listed.set)
        self._announced = table
        self._watch = asyncio.create_task(sources.own_announcements(self._client, table, self._name).run())
        self._watch.add_done_callback(lambda _: listed.set())

    def _check_watch(self) -> None:
        """A watch has no end; what it raised is a fault of ours, and ends the agent."""
        if self._watch and self._watch.done():
            self._watch.result()

    def _announced_changed(self, _name: str) -> None:
        self._apply()

    def _extend(self, started: int) -> None:
        if self._error:
            log.info("l2_renewed")
        self._error, self._deadline = "", started + self._lasts
        try:
            self._responder.until(self._deadline)
        except BpfError as error:
            self._unable(str(error))
        self._set_timer()

    def _set_timer(self) -> None:
        """The loop's clock may stand still where ours does not: it is looked at again when the timer fires."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later((self._deadline - self._clock()) / SECOND, self._timed_out)

    def _timed_out(self) -> None:
        self.expire()
        if self._holding:
            self._set_timer()

    def _apply(self) -> bool:
        """Make the maps what this node is to answer for. What is not in them any more may then be another node's."""
        if not self._holding:
            return False
        row, links = self._announced.get(self._name), self._links()
        wanted = l2.answers(row, links.values())
        try:
            fresh = self._responder.apply(wanted, links)
        except BpfError as error:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._apply)
            self._refused = True
            return self._unable(str(error))
        self._held, self._refused = wanted, False
        self._in_effect = (row.uid, row.generation) if row else ("", 0)
        self._herald.listen(wanted)
        if fresh:
            log.info("l2_taken_over", answers=len(fresh))
            self._herald.announce(fresh, links)
        self._tell()
        return True

    def _tell(self) -> None:
        if self.state() != self._told:
            self._news.set()

    def _stop(self) -> None:
        self._holding, self._held = False, set()
        for running in (self._watch, self._timer):
            if running:
                running.cancel()
        self._watch = self._timer = None

    def _unable(self, sentence: str) -> bool:
        """It fails at what it is for, though it lives: others are better for a while."""
        self._unable_until = self._clock() + round(self._settings.l2_announcements_lease_duration * SECOND)
        self._tell()
        return self._failed(sentence)

    def _failed(self, sentence: str) -> bool:
        if sentence != self._error:
            log.warning("l2_failed", error=sentence)
        self._error = sentence
        return False

    async def _pause(self, passed: float, *, renewed: bool) -> None:
        """Until the next renewal is due, or there is something to tell. `passed`: seconds since the last one began."""
        self._check_watch()
        left = max(GAP_SECONDS, self._settings.l2_announcements_retry_period - passed)
        if self._unreported >= MUTE:
            left = SILENCE * self._settings.l2_announcements_lease_duration
        if not renewed:
            await asyncio.sleep(left)
            return
        await asyncio.sleep(GAP_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left - GAP_SECONDS):
                await self._news.wait()
