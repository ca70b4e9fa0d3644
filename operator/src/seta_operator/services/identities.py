"""Which label set has which number, and who uses it. Pure but for the numbers; used by policy.py.

A number stays with its label set while anything refers to it: a pod with these labels, or a CiliumEndpoint that
was given the number. After that it is kept for a grace period, so that a Deployment scaled to nothing and back
finds the number it had.
"""

from collections.abc import Callable, Iterable, Mapping

from seta_crds import labels
from seta_operator.services.numbers import Numbers
from seta_operator.store.table import Key

Labels = tuple[tuple[str, str], ...]  # sorted (source:key, value)


def canonical(mapping: Mapping[str, str]) -> Labels:
    """Labels as a key."""
    return tuple(sorted(mapping.items()))


class Identities:
    """Label sets and their numbers."""

    def __init__(self) -> None:
        self._numbers = Numbers(labels.MIN_IDENTITY, labels.MAX_IDENTITY)
        self._labels: dict[int, dict[str, str]] = {}  # number -> label set
        self._number: dict[Labels, int] = {}  # label set -> number; the lowest, where several exist
        self._of_pod: dict[Key, int] = {}  # pod -> number
        self._idle_since: dict[int, float] = {}  # number nothing refers to -> when that was noticed

    def restore(self, number: int, label_set: Labels) -> bool:
        """Take over a number given before a restart; whether it was free. Call in ascending order."""
        if not label_set or not self._numbers.claim(number):
            return False
        self._labels[number] = dict(label_set)
        self._number.setdefault(label_set, number)
        return True

    def knows(self, label_set: Labels) -> bool:
        """Whether the label set has a number."""
        return label_set in self._number

    def assign(self, pod: Key, label_set: Labels) -> int | None:
        """The pod has these labels now; the number if it was given out just now.

        Raises:
            ExhaustedError: no number is left.

        """
        number = self._number.get(label_set)
        fresh = number is None
        if number is None:
            number = self._numbers.take()
            self._number[label_set] = number
            self._labels[number] = dict(label_set)
        self._of_pod[pod] = number
        return number if fresh else None

    def forget(self, pod: Key) -> None:
        """The pod is no more, or needs no identity."""
        self._of_pod.pop(pod, None)

    def labels(self, number: int) -> dict[str, str] | None:
        """The number's label set, or None where it is given to none."""
        return self._labels.get(number)

    def numbers(self) -> list[int]:
        """Every number given out, ascending."""
        return sorted(self._labels)

    def collect(self, in_use: Iterable[int], now: float, grace: float) -> list[int]:
        """Release the numbers that neither a pod nor `in_use` has referred to for `grace` seconds; which they were."""
        used = {*self._of_pod.values(), *in_use}
        self._idle_since = {number: self._idle_since.get(number, now) for number in self._labels if number not in used}
        gone = [number for number, since in self._idle_since.items() if now - since >= grace]
        for number in gone:
            self._release(number)
        return gone

    def _release(self, number: int) -> None:
        label_set = canonical(self._labels.pop(number))
        if self._number.get(label_set) == number:
            del self._number[label_set]
        del self._idle_since[number]
        self._numbers.release(number)


def universe(identities: Identities) -> Callable[[], Iterable[tuple[int, Mapping[str, str]]]]:
    """Every identity that a selector may match, with its labels: the reserved ones too."""

    def every() -> Iterable[tuple[int, Mapping[str, str]]]:
        yield from labels.RESERVED_LABELS.items()
        for number in identities.numbers():
            found = identities.labels(number)
            if found is not None:
                yield number, found

    return every
