"""The LB maps → the JSON of `seta bpf lb ...`. Called by the backend, in a thread.

`dump` reads one map: two arrays with the field names of the BTF. Slot 0 of a service has other things in the field
`backend_id` than the slots of its backends: the seconds of its affinity and the number of its algorithm.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from seta_agent.api import values

Json = dict[str, Any]
Array = np.ndarray[Any, np.dtype[Any]]
Dump = Callable[[str], tuple[Array, Array]]
Tables = Callable[[str], Iterable[tuple[int, Array]]]  # map -> reverse NAT index, backend ids of its Maglev table
FAMILIES = (("4", 1), ("6", 2))  # part of a map's name, family
AFFINITY_BITS = 24
ALGORITHMS = {0: "default", 1: "random", 2: "maglev"}
SOURCE_STATIC_BITS = 32  # of a source range's prefix length


def lb(dump: Dump) -> Json:
    """Services by address and slot, backends, reverse NAT and source ranges by id; both families."""
    services = [item for part, family in FAMILIES for item in _services(*dump(f"cilium_lb{part}_services_v2"), family)]
    backends = [item for part, family in FAMILIES for item in _backends(*dump(f"cilium_lb{part}_backends_v3"), family)]
    reverse = [item for part, family in FAMILIES for item in _reverse(*dump(f"cilium_lb{part}_reverse_nat"), family)]
    ranges = [item for part, family in FAMILIES for item in _ranges(*dump(f"cilium_lb{part}_source_range"), family)]
    order = ("address", "port", "protocol", "scope", "slot")
    return {
        "services": sorted(services, key=lambda item: tuple(item[name] for name in order)),
        "backends": sorted(backends, key=lambda item: int(item["id"])),
        "reverse_nat": sorted(reverse, key=lambda item: int(item["id"])),
        "source_ranges": sorted(ranges, key=lambda item: (int(item["id"]), str(item["range"]))),
    }


def maglev(tables: Tables) -> list[Json]:
    """Each service's Maglev table by reverse NAT index: how many of its entries each backend has."""
    return [
        {"id": number, "entries": len(words), "backends": _shares(words)}
        for part, _ in FAMILIES
        for number, words in tables(f"cilium_lb{part}_maglev")
    ]


def maglev_table(tables: Tables, number: int) -> list[int] | None:
    """One service's table: backend ids in the order of hashes; None where there is none."""
    every = (one for part, _ in FAMILIES for one in tables(f"cilium_lb{part}_maglev"))
    return next((words.tolist() for found, words in every if found == number), None)


def _shares(words: Array) -> list[Json]:
    numbers, counts = np.unique(words, return_counts=True)
    return [{"id": int(number), "entries": int(count)} for number, count in zip(numbers, counts, strict=True)]


def _services(keys: Array, entries: Array, family: int) -> Iterator[Json]:
    for key, value in zip(keys, entries, strict=True):
        flags = int(value["flags"]) | int(value["flags2"]) << 8
        slot, word = int(key["backend_slot"]), int(value["backend_id"])
        yield {
            "address": values.address(key["address"], family),
            "port": int(key["dport"]),
            "protocol": values.protocol(int(key["proto"])),
            "scope": int(key["scope"]),
            "slot": slot,
            "backend_id": word,
            "count": int(value["count"]),
            "qcount": int(value["qcount"]),
            "rev_nat": int(value["rev_nat_index"]),
            "flags": flags,
            "type": values.service_type(flags, slot),
            **({} if slot else _choosing(word)),
        }


def _choosing(word: int) -> Json:
    """How the service chooses among its backends."""
    number = word >> AFFINITY_BITS
    return {
        "affinity_seconds": word & (1 << AFFINITY_BITS) - 1,
        "algorithm": ALGORITHMS.get(number, str(number)),
    }


def _backends(keys: Array, entries: Array, family: int) -> Iterator[Json]:
    for key, value in zip(keys, entries, strict=True):
        state = int(value["flags"])
        yield {
            "id": int(key),
            "address": values.address(value["address"], family),
            "port": int(value["port"]),
            "protocol": values.protocol(int(value["proto"])),
            "zone": int(value["zone"]),
            "state": values.BACKEND_STATES[state] if state < len(values.BACKEND_STATES) else str(state),
        }


def _reverse(keys: Array, entries: Array, family: int) -> Iterator[Json]:
    for key, value in zip(keys, entries, strict=True):
        yield {"id": int(key), "address": values.address(value["address"], family), "port": int(value["port"])}


def _ranges(keys: Array, _entries: Array, family: int) -> Iterator[Json]:
    for key in keys:
        bits = int(key["prefixlen"]) - SOURCE_STATIC_BITS
        yield {"id": int(key["rev_nat_id"]), "range": f"{values.address(key['addr'], family)}/{bits}"}
