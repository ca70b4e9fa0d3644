"""Conntrack entries of services whose backend, or frontend, is gone: deleted, so that the next packet chooses anew.

Called by `stale`, with what services offer. An entry from a client to a frontend says which backend the client has,
and outlives the service's slots: a terminating backend keeps its connections. A UDP client whose backend left
altogether would send to nobody for as long as it keeps sending, so its entry goes at once. TCP ends by itself; there
those entries go whose frontend or backend the maps no longer have.
"""

import contextlib

import numpy as np

from seta_agent.bpf.maps import Array, Map
from seta_agent.desired import lb
from seta_agent.desired.encode import PROTOCOLS
from seta_agent.programmer import gc
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.offers import Offers, is_offered

CONNTRACK = ("cilium_ct4_global", "cilium_ct_any4_global")
TUPLE_SERVICE = 4  # `enum ct_tuple_flag`; with another bit it is something else


def forget(maps: KernelMaps, offers: Offers) -> int:
    """How many entries were deleted. Blocking; `BpfError`. The service maps are read last: see `stale`."""
    deleted = 0
    for name in CONNTRACK:
        with contextlib.closing(maps.open(name)) as conntrack:
            keys, values = _of_services(conntrack)
            if len(keys):
                stale = _stale(maps, keys, values, offers)
                deleted += gc.delete_unchanged(conntrack, keys[stale], values[stale])
    return deleted


def _of_services(conntrack: Map) -> tuple[Array, Array]:
    keys, values = bytearray(), bytearray()
    for some_keys, some_values in conntrack.batches():
        chosen = some_keys["flags"] == TUPLE_SERVICE
        keys += some_keys[chosen].tobytes()
        values += some_values[chosen].tobytes()
    return np.frombuffer(keys, conntrack.key), np.frombuffer(values, conntrack.value)


def _stale(maps: KernelMaps, keys: Array, values: Array, offers: Offers) -> Array:
    """Which entries go (n,)."""
    known, backends = _dump(maps, "cilium_lb4_backends_v3")
    frontends, _ = _dump(maps, "cilium_lb4_reverse_nat")
    gone = ~np.isin(values["backend_id"], known) | ~np.isin(values["rev_nat_index"], frontends)
    pairs = _pairs(values["rev_nat_index"], values["backend_id"])
    suspect = (keys["nexthdr"] == PROTOCOLS["UDP"]) & ~gone & ~np.isin(pairs, _in_slots(maps))
    places = dict(zip(known.tolist(), zip(lb.addresses(backends), backends["port"].tolist(), strict=True), strict=True))
    left = [
        pair
        for pair in np.unique(pairs[suspect]).tolist()
        if not is_offered(offers, pair >> 32, places[pair & (1 << 32) - 1])
    ]
    stale: Array = gone | suspect & np.isin(pairs, np.array(left, np.uint64))
    return stale


def _in_slots(maps: KernelMaps) -> Array:
    keys, slots = _dump(maps, "cilium_lb4_services_v2")
    slots = slots[keys["backend_slot"] != 0]
    return _pairs(slots["rev_nat_index"], slots["backend_id"])


def _pairs(numbers: Array, backends: Array) -> Array:
    """Frontend's number and backend's id as one number (n,)."""
    pairs: Array = numbers.astype(np.uint64) << np.uint64(32) | backends.astype(np.uint64)
    return pairs


def _dump(maps: KernelMaps, name: str) -> tuple[Array, Array]:
    with contextlib.closing(maps.open(name)) as opened:
        return opened.dump()
