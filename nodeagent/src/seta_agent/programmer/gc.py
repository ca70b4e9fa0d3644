"""Takes out of the conntrack and NAT maps what is over. Called by `node` now and then, and by `endpoints` when pods go.

The maps are LRU and would make room by themselves, but then a burst of new connections pushes out living ones. Read
in batches, judged as arrays, deleted in batches: half a million entries take a fraction of a second.
"""

import contextlib
import time
from collections.abc import Iterable

import numpy as np

from seta_agent.bpf.maps import Array, Map
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.tables import IPAddress

CONNTRACK4 = ("cilium_ct4_global", "cilium_ct_any4_global")
CONNTRACK = (*CONNTRACK4, "cilium_ct6_global", "cilium_ct_any6_global")
NAT = "cilium_snat_v4_external"
TUPLE_OUT, TUPLE_IN, TUPLE_SERVICE = 0, 1, 4  # `enum ct_tuple_flag`
NAT_FRONT = TUPLE_SERVICE | TUPLE_IN
AFFINITY = ("cilium_lb4_affinity", "cilium_lb6_affinity")
AFFINITY_MATCH = "cilium_lb_affinity_match"
GRACE = 60  # seconds that a mapping without a connection may live: it may just have been made


def collect(maps: KernelMaps) -> dict[str, int]:
    """One sweep over all maps: map name -> entries deleted. Blocking; `BpfError`."""
    deleted: dict[str, int] = {}
    for name in filter(maps.has, CONNTRACK):
        deleted[name] = _sweep_conntrack(maps.open(name), int(time.monotonic()))
    if maps.has(NAT):
        deleted[NAT] = _sweep_nat(maps)
    for name in filter(maps.has, AFFINITY):
        deleted[name] = _sweep_affinity(maps, name)
    return deleted


def forget(maps: KernelMaps, addresses: Iterable[IPAddress]) -> int:
    """What is remembered of IPv4 addresses whose pods are gone: how many entries were deleted. Blocking; `BpfError`.

    The next pod with such an address is another one: what its predecessor was asked, it must not answer.
    """
    numbers = np.array([int(ip) for ip in addresses if ip.version == 4], np.uint32)
    return sum(_forget(maps.open(name), numbers) for name in (*CONNTRACK4, NAT) if maps.has(name))


def _forget(opened: Map, addresses: Array) -> int:
    deleted = 0
    try:
        for keys, values in opened.batches():
            columns = [
                keys["saddr"],
                keys["daddr"],
                *([values["to_addr"]] if "to_addr" in (values.dtype.names or ()) else []),
            ]
            theirs = np.logical_or.reduce([np.isin(column.astype(np.uint32), addresses) for column in columns])
            opened.delete(keys[theirs])
            deleted += int(theirs.sum())
    finally:
        opened.close()
    return deleted


def _sweep_conntrack(opened: Map, now: int) -> int:
    deleted = 0
    try:
        for keys, values in opened.batches():
            over = keys[values["lifetime"] < now]
            opened.delete(over)
            deleted += len(over)
    finally:
        opened.close()
    return deleted


def _sweep_nat(maps: KernelMaps) -> int:
    """Mappings of connections that conntrack no longer knows; see bpf/lib/nat_port.h for the kinds there are."""
    living = _living(maps)
    with contextlib.closing(maps.open("cilium_lb4_reverse_nat")) as opened:
        frontends = opened.dump()
    oldest = time.monotonic_ns() - GRACE * 10**9
    deleted = 0
    with contextlib.closing(maps.open(NAT)) as opened:
        for keys, values in opened.batches():
            over = keys[(values["created"] < oldest) & ~_lives(keys, values, living, frontends)]
            opened.delete(over)
            deleted += len(over)
    return deleted


def _living(maps: KernelMaps) -> Array:
    """The digests of all tuples that conntrack knows (n,)."""
    found = [np.empty(0, np.uint64)]
    for name in filter(maps.has, CONNTRACK4):
        with contextlib.closing(maps.open(name)) as opened:
            found += [_digest(keys) for keys, _ in opened.batches()]
    return np.concatenate(found)


def _lives(keys: Array, values: Array, living: Array, frontends: tuple[Array, Array]) -> Array:
    """Whether the connection is known that each mapping belongs to (n,).

    A pod's or a client's own tuple is its connection's. The answer to a pod is found under what the pod sent; the
    answer to a client of a service under what the client sent to the frontend. The frontend of an answer is found
    under what went to the backend, as the backend's endpoint knows it or, if the client is a pod here, the client's.
    """
    tuples, answers = keys.copy(), keys["flags"] == TUPLE_IN
    fronts, clients = keys["flags"] == NAT_FRONT, answers & (values["rev_nat_index"] != 0)
    back = answers | fronts
    for own, other in (("daddr", "saddr"), ("dport", "sport")):
        tuples[own][back] = keys[other][back]
        tuples[other][fronts] = keys[own][fronts]
    tuples["saddr"][answers], tuples["sport"][answers] = values["to_addr"][answers], values["to_port"][answers]
    tuples["flags"][back] = TUPLE_OUT
    tuples["flags"][clients] = TUPLE_SERVICE
    tuples["daddr"][clients], tuples["dport"][clients] = _frontends_of(values["rev_nat_index"][clients], *frontends)
    lives = np.isin(_digest(tuples), living)
    tuples["flags"][fronts] = TUPLE_IN
    lives |= fronts & np.isin(_digest(tuples), living)
    return lives


def _frontends_of(numbers: Array, known: Array, frontends: Array) -> tuple[Array, Array]:
    """Address and port of each frontend by its reverse NAT index; zeros where it is gone."""
    order = np.argsort(known)
    padded = np.append(known[order].astype(np.int64), -1)
    at = np.searchsorted(padded[:-1], numbers)
    there = padded[at] == numbers
    found = frontends[order[at[there]]]
    addresses, ports = np.zeros(len(numbers), ">u4"), np.zeros(len(numbers), ">u2")
    addresses[there], ports[there] = found["address"], found["port"]
    return addresses, ports


def _sweep_affinity(maps: KernelMaps, name: str) -> int:
    """Clients' backends that their services no longer have. What services have is read last."""
    with contextlib.closing(maps.open(name)) as affinity:
        keys, values = affinity.dump()
        with contextlib.closing(maps.open(AFFINITY_MATCH)) as opened:
            matches, _ = opened.dump()
        known = _pairs(matches["backend_id"], matches["rev_nat_id"])
        over = ~np.isin(_pairs(values["backend_id"], keys["rev_nat_id"]), known)
        return delete_unchanged(affinity, keys[over], values[over])


def delete_unchanged(opened: Map, keys: Array, values: Array) -> int:
    """Entries that name a backend, unless they name another one by now: how many were deleted."""
    deleted = 0
    for at in range(len(keys)):
        raw = opened.lookup(keys[at : at + 1].tobytes())
        if raw is not None and np.frombuffer(raw, opened.value)["backend_id"][0] == values["backend_id"][at]:
            deleted += opened.remove(keys[at : at + 1].tobytes())
    return deleted


def _pairs(backends: Array, numbers: Array) -> Array:
    pairs: Array = backends.astype(np.uint64) << np.uint64(16) | numbers.astype(np.uint64)
    return pairs


def _digest(keys: Array) -> Array:
    """64 bits per tuple, to compare by. Two tuples with one digest only keep a mapping a little longer."""
    size = keys.dtype.itemsize
    padded = np.zeros((len(keys), 16), np.uint8)
    padded[:, :size] = np.frombuffer(keys.tobytes(), np.uint8).reshape(len(keys), size)
    words = padded.view(np.uint64)
    mixed: Array = words[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ words[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    return mixed
