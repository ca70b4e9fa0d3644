"""Maglev tables: which backend each hash of a connection gets, the same on every node. Pure; used by the stage.

Every backend has an equal share of the table, to one entry. Entries and backends are matched as in deferred
acceptance: an entry asks the backends in the order of a hash of both, and a backend with too many keeps those of
the highest hashes. So the table follows from the set of backends alone, not from an order in which they came; and
when one goes, its entries move and few others: of 16,381 entries 1.03/n with 5 backends, 1.8/n with 100 (measured).
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from seta_agent.desired.lbids import BackendKey

Hashes = np.ndarray[Any, np.dtype[np.uint32]]
Places = np.ndarray[Any, np.dtype[np.intp]]
CELLS = 1 << 20  # pairs of entry and backend looked at together: bounds the memory
HIGHEST = 0xFFFFFFFF


def table(backends: Sequence[BackendKey], ids: Sequence[int], size: int, seed: bytes) -> bytes:
    """`size` backend ids as the map has them; `ids`: of the backends, in their order."""
    hashes = _distinct(backends, seed)
    return np.asarray(ids, np.uint32)[_match(hashes, size)].tobytes()


def _match(hashes: Hashes, size: int) -> Places:
    """The place of each entry's backend."""
    share, more = divmod(size, len(hashes))
    shares = np.full(len(hashes), share)
    shares[np.argsort(hashes)[:more]] += 1
    slots = _mix(np.arange(1, size + 1, dtype=np.uint32) * np.uint32(0x9E3779B1))
    chosen, score = _best(slots, hashes, None)
    while len(crowded := np.flatnonzero(np.bincount(chosen, minlength=len(hashes)) > shares)):
        refused = np.concatenate([_refused(chosen == place, score, shares[place]) for place in crowded])
        chosen[refused], score[refused] = _best(slots[refused], hashes, score[refused])
    return chosen


def _refused(own: Any, score: Hashes, share: int) -> Places:
    """The entries of one backend beyond its share: those of the lowest scores."""
    places = np.flatnonzero(own)
    return places[np.argpartition(score[places], len(places) - share)[: len(places) - share]]


def _best(slots: Hashes, hashes: Hashes, below: Hashes | None) -> tuple[Places, Hashes]:
    """For each slot the backend with the highest score, below the given one; and the score."""
    chosen, best = np.empty(len(slots), np.intp), np.empty(len(slots), np.uint32)
    step = max(CELLS // len(hashes), 1)
    for at in range(0, len(slots), step):
        part = slice(at, at + step)
        scores = _mix(slots[part, None] ^ hashes)
        if below is not None:
            scores[scores >= below[part, None]] = 0
        chosen[part] = scores.argmax(axis=1)
        best[part] = scores.max(axis=1)
    return chosen, best


def _mix(values: Hashes) -> Hashes:
    """Every bit moves every bit, and distinct values stay distinct (the finaliser of MurmurHash3)."""
    values = (values ^ values >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    values = (values ^ values >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return values ^ values >> np.uint32(16)


def _distinct(backends: Sequence[BackendKey], seed: bytes) -> Hashes:
    """One hash per backend, no two the same, so that of two backends an entry always prefers one."""
    taken: dict[int, int] = {}  # hash -> place of its backend
    for place in sorted(range(len(backends)), key=lambda place: _plain(backends[place])):
        number = _hash(backends[place], seed)
        while number in taken:
            number = (number + 1) & HIGHEST
        taken[number] = place
    found = np.empty(len(backends), np.uint32)
    found[list(taken.values())] = list(taken)
    return found


def _plain(backend: BackendKey) -> tuple[bytes, int, int]:
    return backend[0].packed, backend[1], backend[2]


@functools.lru_cache(maxsize=65536)
def _hash(backend: BackendKey, seed: bytes) -> int:
    packed, port, protocol = _plain(backend)
    text = packed + port.to_bytes(2, "big") + protocol.to_bytes(1, "big")
    return int.from_bytes(hashlib.blake2b(text, digest_size=4, key=seed).digest(), "little")
