"""Which label set has which number, and which pods have it. Pure but for the numbers; used by membership.py.

A number stays with its label set while anything refers to it: a pod with these labels, or a CiliumEndpoint that
was given the number. After that it is kept for a grace period, so that a Deployment scaled to nothing and back
finds the number it had.
"""

from collections.abc import Iterable, Mapping

from seta_crds import labels
from seta_operator.services.allotment import Allotment
from seta_operator.store.table import Key

Labels = tuple[tuple[str, str], ...]  # sorted (source:key, value)


def canonical(mapping: Mapping[str, str]) -> Labels:
    """Labels as a key."""
    return tuple(sorted(mapping.items()))


class Identities:
    """Label sets and their numbers."""

    def __init__(self) -> None:
        self._allotment: Allotment[Labels] = Allotment(labels.MIN_IDENTITY, labels.MAX_IDENTITY)
        self._of_pod: dict[Key, int] = {}  # pod -> number

    def restore(self, number: int, label_set: Labels) -> bool:
        """Take over a number given before a restart; whether it was free. Call in ascending order."""
        return bool(label_set) and self._allotment.restore(number, label_set)

    def assign(self, pod: Key, label_set: Labels) -> int | None:
        """The pod has these labels now; the number if it was given out just now.

        Raises:
            ExhaustedError: no number is left.

        """
        number, fresh = self._allotment.give(label_set)
        self._of_pod[pod] = number
        return number if fresh else None

    def forget(self, pod: Key) -> None:
        """The pod is no more, or needs no identity."""
        self._of_pod.pop(pod, None)

    def labels(self, number: int) -> dict[str, str] | None:
        """The number's label set, or None where it is given to none."""
        found = self._allotment.thing(number)
        return None if found is None else dict(found)

    def numbers(self) -> list[int]:
        """Every number given out, ascending."""
        return self._allotment.numbers()

    def collect(self, in_use: Iterable[int], now: float, grace: float) -> list[int]:
        """Release the numbers that neither a pod nor `in_use` has referred to for `grace` seconds; which they were."""
        gone = self._allotment.idle({*self._of_pod.values(), *in_use}, now, grace)
        for number in gone:
            self._allotment.release(number)
        return gone
