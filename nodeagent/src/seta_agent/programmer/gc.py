"""Takes out of the conntrack and NAT maps what is over. Called by `upkeep`, and by `endpoints` when pods go.

The maps are LRU and would make room by themselves, but then a burst of new connections pushes out living ones. What
ends by itself is swept by programs of the datapath (bpf/sweep.bpf.c), since a port may be used again between a look
from here and a deletion.
"""

import contextlib
from collections.abc import Iterable

import numpy as np

from seta_agent.bpf.maps import Array, Map
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.tables import IPAddress

CONNTRACK4 = ("cilium_ct4_global", "cilium_ct_any4_global")
NAT = "cilium_snat_v4_external"
AFFINITY = ("cilium_lb4_affinity", "cilium_lb6_affinity")
AFFINITY_MATCH = "cilium_lb_affinity_match"
SWEPT = {  # field of `struct swept` -> map
    "ct4": "cilium_ct4_global",
    "ct_any4": "cilium_ct_any4_global",
    "ct6": "cilium_ct6_global",
    "ct_any6": "cilium_ct_any6_global",
    "nat4": NAT,
}
SWEEPS = ("sweep_conntrack", "sweep_nat")  # in this order: a mapping goes once its connection has gone


def collect(maps: KernelMaps) -> dict[str, int]:
    """One sweep over all maps: map name -> entries deleted. Blocking; `BpfError`."""
    deleted = dict.fromkeys(SWEPT.values(), 0)
    for program in SWEEPS:
        for field, count in maps.sweep(program).items():
            deleted[SWEPT[field]] += count
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
