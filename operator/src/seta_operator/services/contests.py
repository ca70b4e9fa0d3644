"""Keeps two controllers from writing one status back and forth as fast as they can. Used by lbipam.py.

What was written and is other again soon after was changed by somebody else. It is written again, each time later:
who is right is for people to say (loadBalancerClass), and meanwhile the API server has its peace.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from seta_operator.store.table import Key

FIRST, FACTOR, LAST = 0.2, 4.0, 300.0  # seconds until it is written again: the first time, growth, at most
FORGOTTEN = 2 * LAST  # seconds after which it counts as the first time
log = structlog.get_logger()


class Written(NamedTuple):
    what: object
    times: int
    when: float  # monotonic


class Contests:
    """What was written last."""

    def __init__(self, look_again: Callable[[Key], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`look_again` is called when a write that had to wait may be made."""
        self._look_again, self._clock = look_again, clock
        self._last: dict[Key, Written] = {}  # object -> what was written last
        self._waiting: set[Key] = set()  # objects that will be looked at again

    def wait(self, key: Key, what: object) -> bool:
        """Whether to write this later: then the key will be looked at again."""
        last = self._last.get(key)
        if last is None or last.what != what or self._clock() - last.when > FORGOTTEN:
            return False
        pause = last.when + min(FIRST * FACTOR ** (last.times - 1), LAST) - self._clock()
        if pause <= 0:
            return False
        if key not in self._waiting:
            self._waiting.add(key)
            log.warning("status.contested", namespace=key[0], name=key[1], times=last.times, seconds=round(pause, 1))
            asyncio.get_running_loop().call_later(pause, self._wake, key)
        return True

    def written(self, key: Key, what: object) -> None:
        """The object was just written so."""
        last, now = self._last.get(key), self._clock()
        again = last is not None and last.what == what and now - last.when <= FORGOTTEN
        self._last[key] = Written(what, last.times + 1 if last is not None and again else 1, now)

    def forget(self, key: Key) -> None:
        """The object is no more."""
        self._last.pop(key, None)

    def _wake(self, key: Key) -> None:
        self._waiting.discard(key)
        self._look_again(key)
