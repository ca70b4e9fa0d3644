"""The conntrack and NAT maps → the JSON of `seta bpf ct list` and `bpf nat list`. Called by the backend, in a thread.

`dump` reads one map: two arrays with the field names of the BTF. These maps are the large ones.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from seta_agent.api import values

Json = dict[str, Any]
Array = np.ndarray[Any, np.dtype[Any]]
Dump = Callable[[str], tuple[Array, Array]]
TUPLE_IN, TUPLE_SERVICE = 1, 4  # `enum ct_tuple_flag`
CT_FLAGS = (  # `enum ct_entry_flag`
    (0x1, "RxClosing"),
    (0x2, "TxClosing"),
    (0x4, "SeenNonSyn"),
    (0x8, "Denied"),
    (0x10, "FromTunnel"),
    (0x20, "FrontInNat"),
    (0x40, "DSR"),
)
CT_MAPS = (
    ("cilium_ct4_global", 1),
    ("cilium_ct_any4_global", 1),
    ("cilium_ct6_global", 2),
    ("cilium_ct_any6_global", 2),
)
NAT = "cilium_snat_v4_external"


def ct(dump: Dump) -> list[Json]:
    """Every connection that has not expired."""
    now = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    return [item for name, family in CT_MAPS for item in _connections(*dump(name), family, now)]


def _connections(keys: Array, entries: Array, family: int, now: int) -> Iterator[Json]:
    alive = entries["lifetime"] > now
    for key, value in zip(keys[alive], entries[alive], strict=True):
        yield {
            **_ends(key, family),
            "expires": int(value["lifetime"]) - now,
            "packets": int(value["packets"]),
            "bytes": int(value["bytes"]),
            "tx_flags": int(value["tx_flags_seen"]),
            "rx_flags": int(value["rx_flags_seen"]),
            "flags": int(value["flags"]),
            "flag_names": [name for bit, name in CT_FLAGS if value["flags"] & bit],
            "rev_nat": int(value["rev_nat_index"]),
            "source_identity": int(value["src_sec_id"]),
            "backend_id": int(value["backend_id"]),
        }


def nat(dump: Dump) -> list[Json]:
    """Every translation: packets with these ends get another source or, if they answer to such, another destination."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    keys, entries = dump(NAT)
    return [
        {
            **_ends(key, 1),
            "translated": "destination" if key["flags"] == TUPLE_IN else "source",
            "to": values.endpoint(values.address(value["to_addr"]), int(value["to_port"])),
            "age": max(now - int(value["created"]), 0) // 10**9,
        }
        for key, value in zip(keys, entries, strict=True)
    ]


def _ends(key: Any, family: int) -> Json:
    return {
        "protocol": values.protocol(int(key["nexthdr"])),
        "direction": "IN" if key["flags"] & TUPLE_IN else "OUT",
        "service": bool(key["flags"] & TUPLE_SERVICE),
        "source": values.endpoint(values.address(key["saddr"], family), int(key["sport"])),
        "destination": values.endpoint(values.address(key["daddr"], family), int(key["dport"])),
    }
