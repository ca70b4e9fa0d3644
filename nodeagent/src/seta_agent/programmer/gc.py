"""Takes out of the conntrack and NAT maps what is over. Called by `node` now and then, and by `endpoints` when pods go.

The maps are LRU and would make room by themselves, but then a burst of new connections pushes out living ones. Read
in batches, judged as arrays, deleted in batches: half a million entries take a fraction of a second.
"""

import time
from collections.abc import Iterable

import numpy as np

from seta_agent.bpf.maps import Array, Map
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.tables import IPAddress

CONNTRACK4 = ("cilium_ct4_global", "cilium_ct_any4_global")
CONNTRACK = (*CONNTRACK4, "cilium_ct6_global", "cilium_ct_any6_global")
NAT = "cilium_snat_v4_external"
TUPLE_IN = 1  # `enum ct_tuple_flag`
GRACE = 60  # seconds that a mapping without a connection may live: it may just have been made


def collect(maps: KernelMaps) -> dict[str, int]:
    """One sweep over all maps: map name -> entries deleted. Blocking; `BpfError`."""
    deleted: dict[str, int] = {}
    for name in filter(maps.has, CONNTRACK):
        deleted[name] = _sweep_conntrack(maps.open(name), int(time.monotonic()))
    if maps.has(NAT):
        deleted[NAT] = _sweep_nat(maps)
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
    """Mappings of connections that conntrack no longer knows.

    A mapping has two entries: the pod's tuple -> node port, and the answer's tuple -> the pod. Either names its
    connection as conntrack has it, under the pod's tuple.
    """
    living = _living(maps)
    opened = maps.open(NAT)
    oldest = time.monotonic_ns() - GRACE * 10**9
    deleted = 0
    try:
        for keys, values in opened.batches():
            connections = _connections(keys, values)
            old = values["created"] < oldest
            over = keys[old & ~np.isin(connections, living)]
            opened.delete(over)
            deleted += len(over)
    finally:
        opened.close()
    return deleted


def _living(maps: KernelMaps) -> Array:
    """The digests of the tuples that pods opened connections with (n,)."""
    found = [np.empty(0, np.uint64)]
    for name in CONNTRACK4:
        if maps.has(name):
            opened = maps.open(name)
            try:
                found += [_digest(keys[keys["flags"] != TUPLE_IN]) for keys, _ in opened.batches()]
            finally:
                opened.close()
    return np.concatenate(found)


def _connections(keys: Array, values: Array) -> Array:
    """The digest of the conntrack tuple that each mapping belongs to (n,)."""
    tuples = keys.copy()
    answers = keys["flags"] == TUPLE_IN
    tuples["daddr"][answers] = keys["saddr"][answers]
    tuples["dport"][answers] = keys["sport"][answers]
    tuples["saddr"][answers] = values["to_addr"][answers]
    tuples["sport"][answers] = values["to_port"][answers]
    tuples["flags"] = 0
    return _digest(tuples)


def _digest(keys: Array) -> Array:
    """64 bits per tuple, to compare by. Two tuples with one digest only keep a mapping a little longer."""
    size = keys.dtype.itemsize
    padded = np.zeros((len(keys), 16), np.uint8)
    padded[:, :size] = np.frombuffer(keys.tobytes(), np.uint8).reshape(len(keys), size)
    words = padded.view(np.uint64)
    mixed: Array = words[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ words[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F)
    return mixed
