"""Numbers that only this node gives: of backends, and of frontends that are nobody else's. Used by lb and the stage.

Both are kept for as long as what they stand for, and found again in the kernel after a restart: connections and the
translation of their answers hang on them. Both are handed out in turn, so that a number rests before it is used again.
"""

from collections.abc import Mapping

from seta_agent.tables import IPAddress

Owner = tuple[str, str]  # namespace, name of the service
BackendKey = tuple[IPAddress, int, int]  # address, port, protocol number
FrontendKey = tuple[IPAddress, int, int]  # address, port, protocol number
FIRST, LAST = 60001, 65535  # reverse NAT indices; the operator gives those below


class BackendIds:
    """Numbers of backends; those found in the kernel at start are used again."""

    def __init__(self) -> None:
        self._ids: dict[BackendKey, int] = {}  # backend -> id
        self._backends: dict[int, BackendKey] = {}  # id -> backend
        self._next = 1

    def restore(self, found: Mapping[int, BackendKey]) -> None:
        for number, backend in found.items():
            self._ids.setdefault(backend, number)
            self._backends[number] = backend
        self._next = max(self._backends, default=0) % 0xFFFFFFFF + 1

    def take(self, backend: BackendKey) -> int:
        known = self._ids.get(backend)
        if known is not None:
            return known
        number = self._next
        while number in self._backends:
            number = number % 0xFFFFFFFF + 1
        self._next = number % 0xFFFFFFFF + 1
        self._ids[backend], self._backends[number] = number, backend
        return number

    def backend(self, number: int) -> BackendKey:
        """What an id stands for."""
        return self._backends[number]

    def release(self, number: int) -> None:
        """No service uses it any more, and it is gone from the kernel."""
        backend = self._backends.pop(number, None)
        if backend is not None and self._ids.get(backend) == number:
            del self._ids[backend]


class FrontendIds:
    """Reverse NAT indices of host ports, and of node ports on further addresses of the node."""

    def __init__(self) -> None:
        self._ids: dict[FrontendKey, int] = {}  # frontend -> index
        self._taken: set[int] = set()
        self._users: dict[FrontendKey, set[Owner]] = {}  # frontend -> who has it
        self._of: dict[Owner, frozenset[FrontendKey]] = {}  # owner -> its frontends
        self._next = FIRST
        self.lacking: set[Owner] = set()  # owners with frontends for which no index is left

    @property
    def has_room(self) -> bool:
        return len(self._taken) <= LAST - FIRST

    def restore(self, found: Mapping[FrontendKey, int]) -> None:
        """What the kernel knows; `prune` forgets what nobody asks for."""
        for frontend, number in found.items():
            if frontend not in self._ids and number not in self._taken and FIRST <= number <= LAST:
                self._ids[frontend] = number
                self._taken.add(number)
                self._next = max(self._next, number + 1)

    def assign(self, owner: Owner, wanted: frozenset[FrontendKey]) -> Mapping[FrontendKey, int]:
        """All that an owner needs now: frontend -> index; one that is not in it has none."""
        before = self._of.pop(owner, frozenset())
        if not (before or wanted):
            return {}
        for frontend in before - wanted:
            self._leave(frontend, owner)
        self.lacking.discard(owner)
        for frontend in wanted:
            self._users.setdefault(frontend, set()).add(owner)
            if frontend not in self._ids and not self._give(frontend):
                self.lacking.add(owner)
        if wanted:
            self._of[owner] = wanted
        return self._ids

    def number(self, frontend: FrontendKey) -> int:
        """0: it has none."""
        return self._ids.get(frontend, 0)

    def prune(self) -> None:
        """Everything has been assigned: what nobody has was another start's."""
        for frontend in self._ids.keys() - self._users.keys():
            self._taken.discard(self._ids.pop(frontend))

    def _leave(self, frontend: FrontendKey, owner: Owner) -> None:
        users = self._users[frontend]
        users.discard(owner)
        if not users:
            del self._users[frontend]
            number = self._ids.pop(frontend, None)
            if number is not None:
                self._taken.discard(number)

    def _give(self, frontend: FrontendKey) -> bool:
        if not self.has_room:
            return False
        number = self._next if self._next <= LAST else FIRST
        while number in self._taken:
            number = number + 1 if number < LAST else FIRST
        self._next = number + 1
        self._ids[frontend] = number
        self._taken.add(number)
        return True
