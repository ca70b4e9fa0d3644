"""Which service has which frontend, and the frontend's number: the reverse NAT index. Pure; used by tables.py.

Two services may ask for one address and port: an external IP is whatever its author writes. A cluster address is its
service's in any case, and otherwise the older service has it. The number belongs to the frontend, so it stays when
the frontend changes hands.
"""

from collections.abc import Mapping

from seta_operator.services.frontends import Frontend
from seta_operator.services.numbers import ExhaustedError, Numbers
from seta_operator.store.table import Key

LAST = 60000  # agents number what only their node has from the next one on
Rank = tuple[bool, str, Key]  # no cluster address, created, who: the smallest has the frontend


class Claims:
    """The frontends of every service."""

    def __init__(self) -> None:
        self._numbers = Numbers(1, LAST)
        self._number: dict[Frontend, int] = {}  # frontend -> its number
        self._wanted: dict[Key, dict[Frontend, Rank]] = {}  # service -> what it asks for
        self._rivals: dict[Frontend, dict[Key, Rank]] = {}  # frontend -> service -> its claim
        self._free: set[Frontend] = set()  # frontends that lost their last service in this batch

    def restore(self, frontend: Frontend, number: int) -> None:
        """Take over what was given before a restart."""
        if frontend not in self._number and self._numbers.claim(number):
            self._number[frontend] = number

    def ask(self, service: Key, created: str, wanted: Mapping[Frontend, str]) -> set[Key]:
        """What a service asks for now (frontend -> type): the other services that get or lose a frontend by it."""
        before = self._wanted.pop(service, {})
        now = {frontend: (kind != "ClusterIP", created, service) for frontend, kind in wanted.items()}
        if now:
            self._wanted[service] = now
        touched: set[Key] = set()
        for frontend in before.keys() | now.keys():
            if before.get(frontend) != now.get(frontend):
                touched |= self._claim(frontend, service, now.get(frontend))
        return touched - {service}

    def release(self) -> bool:
        """Give back the numbers of frontends that nobody has; whether there were any. To be called after a batch."""
        gone = [frontend for frontend in self._free if frontend not in self._rivals]
        self._free.clear()
        for frontend in gone:
            number = self._number.pop(frontend, None)
            if number is not None:
                self._numbers.release(number)
        return bool(gone)

    def numbers(self, service: Key) -> tuple[dict[Frontend, int], list[Frontend]]:
        """Its frontends with their numbers, and those for which no number is left."""
        found: dict[Frontend, int] = {}
        without: list[Frontend] = []
        for frontend in self._wanted.get(service, ()):
            if self.holder(frontend) == service:
                try:
                    found[frontend] = self._give(frontend)
                except ExhaustedError:
                    without.append(frontend)
        return found, without

    def taken(self, service: Key) -> dict[Frontend, Key]:
        """What it asks for and another service has: frontend -> who has it."""
        return {
            frontend: holder
            for frontend in self._wanted.get(service, ())
            if (holder := self.holder(frontend)) is not None and holder != service
        }

    def holder(self, frontend: Frontend) -> Key | None:
        """The service that has a frontend."""
        rivals = self._rivals.get(frontend)
        return min(rivals, key=rivals.__getitem__) if rivals else None

    def _claim(self, frontend: Frontend, service: Key, rank: Rank | None) -> set[Key]:
        """A claim that came, changed or (None) went: who had the frontend and who has it, where that is another."""
        before = self.holder(frontend)
        rivals = self._rivals.setdefault(frontend, {})
        if rank is None:
            rivals.pop(service, None)
        else:
            rivals[service] = rank
        if not rivals:
            del self._rivals[frontend]
            self._free.add(frontend)
        after = self.holder(frontend)
        return {one for one in (before, after) if one is not None and before != after}

    def _give(self, frontend: Frontend) -> int:
        if frontend not in self._number:
            self._number[frontend] = self._numbers.take()
        return self._number[frontend]
