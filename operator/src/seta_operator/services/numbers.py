"""Numbers out of a range, each given to one holder: identities and reverse NAT indices.

Numbers are handed out in turn, not lowest first: a number that was just given back rests as long as it can,
because nodes and connections may remember its last holder for a while.
"""


class ExhaustedError(Exception):
    """All numbers are taken."""


class Numbers:
    """A range of numbers, first to last."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._taken: set[int] = set()
        self._next = first

    def claim(self, number: int) -> bool:
        """Take this very number (it was given out before a restart); whether it was free and in range."""
        if number in self._taken or not self._first <= number <= self._last:
            return False
        self._taken.add(number)
        self._next = max(self._next, number + 1)
        return True

    def take(self) -> int:
        """The next free number.

        Raises:
            ExhaustedError: there is none.

        """
        size = self._last - self._first + 1
        if len(self._taken) >= size:
            raise ExhaustedError(f"all {size} numbers from {self._first} to {self._last} are taken")
        number = self._next if self._next <= self._last else self._first
        while number in self._taken:
            number = number + 1 if number < self._last else self._first
        self._taken.add(number)
        self._next = number + 1
        return number

    def release(self, number: int) -> None:
        """Give it back."""
        self._taken.discard(number)
