"""Which nodes live, by the heartbeats that were seen; and what these say. Pure; used by l2.py, which tells the time.

A node is silent when its lease has not changed for a lease duration in which the operator could see. Nobody's clock
counts but the operator's own, and time in which it could not watch does not count at all.
"""

import enum
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

PAUSE = 0.1  # seconds, at least, between two looks for who is silent


class State(NamedTuple):
    """What an agent says of itself."""

    uid: str = ""  # of the NodeAnnouncements that it has put into effect; "" = none
    released: int = 0  # their generation
    up: frozenset[str] = frozenset()  # devices on which it can announce
    able: bool = True  # it has not failed to put its list into effect lately


UNKNOWN = State()


class News(enum.Enum):
    """What a heartbeat means to others."""

    NOTHING = enum.auto()  # but that it lives
    REPORT = enum.auto()  # another generation is in effect
    NODE = enum.auto()  # it may announce more, or less, than before


@dataclass(slots=True)
class _Pulse:
    version: int | None  # resourceVersion of the lease; None: there is none
    since: float  # when it was heard of last
    renewed: bool = False  # the change itself was seen, not only what came of it
    dead: bool = False  # silent, and the API server has confirmed it
    text: str = ""  # what the state was read from
    state: State = UNKNOWN


class Liveness:
    """node -> its pulse. Times are seconds of a monotonic clock."""

    def __init__(self, duration: float, deadline: float) -> None:
        """`duration`: after which silence a node counts as dead. `deadline`: after which it has stopped to answer."""
        self._duration, self._deadline = duration, deadline
        self._pulses: dict[str, _Pulse] = {}
        self._begun, self._begun_at = False, 0.0
        self._heard = 0.0  # when anything was heard
        self._blind: float | None = None  # since when nothing can be heard; None: it can

    def begin(self, now: float) -> None:
        """Everything that is there has been seen; from now on silence means something."""
        self._begun, self._begun_at, self._heard = True, now, now
        for pulse in self._pulses.values():
            pulse.since = now

    def opening(self, now: float) -> bool:
        """Whether nodes that were listed may still be heard of: who is first shall not get everything."""
        waited = now - self._begun_at >= self._deadline
        return not waited and any(pulse.version and not pulse.renewed for pulse in self._pulses.values())

    def expect(self, node: str, now: float) -> None:
        """A node that may be answering, whether it is heard of or not."""
        self._pulses.setdefault(node, _Pulse(None, now))

    def seen(self, node: str, version: int, text: str, now: float) -> News:
        """Its lease as it is now."""
        held = self._pulses.get(node)
        if held is not None and held.version is not None and version <= held.version:
            return News.NOTHING
        self._heard = now
        was_fresh = self.fresh(node, now)
        pulse = self._pulses[node] = _Pulse(version, now, renewed=self._begun, text=text)
        if held is not None and held.text == text:
            pulse.state = held.state
        else:
            pulse.state = parse(text)
        if held is None or held.dead or not was_fresh or held.state.up != pulse.state.up:
            return News.NODE
        return News.NOTHING if held.state == pulse.state else News.REPORT

    def gone(self, node: str) -> None:
        """Its lease was deleted, which is no sign of life, and none of death: the silence goes on."""
        held = self._pulses.get(node)
        if held is not None:
            held.version, held.renewed = None, False

    def lost(self, now: float) -> None:
        """Nothing can be heard any more, perhaps since anything was heard last."""
        if self._blind is None:
            self._blind = min(self._heard, now)

    def found(self, now: float) -> None:
        """It can again: the time between does not count, and who has renewed in it may have died since."""
        if self._blind is None:
            return
        for pulse in self._pulses.values():
            pulse.renewed = False
            if pulse.since <= self._blind:
                pulse.since += now - self._blind
        self._blind, self._heard = None, now

    def silent(self, now: float) -> list[str]:
        """Nodes that have been silent for the lease duration, and are not known to be dead."""
        if self._blind is not None:
            return []
        return sorted(
            name for name, pulse in self._pulses.items() if not pulse.dead and now - pulse.since >= self._duration
        )

    def next_silence(self, now: float) -> float:
        """Seconds until somebody may be silent, at the earliest."""
        since = [pulse.since for pulse in self._pulses.values() if not pulse.dead and self._blind is None]
        return max(PAUSE, min(since, default=now) + self._duration - now)

    def bury(self, node: str) -> None:
        """It is silent, and the API server says so too."""
        self._pulses[node].dead = True

    def dead(self, node: str) -> bool:
        held = self._pulses.get(node)
        return held is not None and held.dead

    def fresh(self, node: str, now: float) -> bool:
        """Whether it was heard of within the deadline, so that it answers for what it gets."""
        held = self._pulses.get(node)
        return held is not None and held.renewed and not held.dead and now - held.since <= self._deadline

    def state(self, node: str) -> State:
        held = self._pulses.get(node)
        return held.state if held is not None else UNKNOWN

    def knows(self, node: str) -> bool:
        return node in self._pulses

    def forget(self, node: str) -> None:
        """It has no lease, and nothing to announce."""
        held = self._pulses.get(node)
        if held is not None and held.dead and held.version is None:
            del self._pulses[node]


def parse(text: str) -> State:
    """The annotation of a heartbeat. One that cannot be read says nothing: that node is given nothing."""
    try:
        found: dict[str, Any] = json.loads(text or "{}")
        devices, able = found.get("interfaces") or {}, found.get("able") is not False
        return State(
            str(found.get("uid") or ""),
            int(found.get("released") or 0),
            frozenset(name for name, up in devices.items() if able and up is True),
            able,
        )
    except (ValueError, TypeError, AttributeError):
        return UNKNOWN
