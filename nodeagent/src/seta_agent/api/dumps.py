"""Contents of the kernel's maps → the JSON of `seta bpf ... list|get`. Called by the backend, in a thread.

`dump` reads one map: two arrays with the field names of the BTF. What stands here is what the kernel does, not what the
agent wants; where the two differ somebody is looking for that.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from seta_agent.api import values, views

Json = dict[str, Any]
Array = np.ndarray[Any, np.dtype[Any]]
Dump = Callable[[str], tuple[Array, Array]]
Names = Callable[[int], list[str]]  # identity -> labels
FAMILIES = (("4", 1), ("6", 2))  # part of a map's name, family


def lb(dump: Dump) -> Json:
    """Services by address and slot, backends by id, reverse NAT by id; both families."""
    services = [item for part, family in FAMILIES for item in _services(*dump(f"cilium_lb{part}_services_v2"), family)]
    backends = [item for part, family in FAMILIES for item in _backends(*dump(f"cilium_lb{part}_backends_v3"), family)]
    reverse = [item for part, family in FAMILIES for item in _reverse(*dump(f"cilium_lb{part}_reverse_nat"), family)]
    order = ("address", "port", "protocol", "scope", "slot")
    return {
        "services": sorted(services, key=lambda item: tuple(item[name] for name in order)),
        "backends": sorted(backends, key=lambda item: int(item["id"])),
        "reverse_nat": sorted(reverse, key=lambda item: int(item["id"])),
    }


def _services(keys: Array, entries: Array, family: int) -> Iterator[Json]:
    for key, value in zip(keys, entries, strict=True):
        flags = int(value["flags"]) | int(value["flags2"]) << 8
        yield {
            "address": values.address(key["address"], family),
            "port": int(key["dport"]),
            "protocol": values.protocol(int(key["proto"])),
            "scope": int(key["scope"]),
            "slot": int(key["backend_slot"]),
            "backend_id": int(value["backend_id"]),
            "count": int(value["count"]),
            "rev_nat": int(value["rev_nat_index"]),
            "flags": flags,
            "type": values.service_type(flags),
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


def policy(keys: Array, entries: Array, names: Names, sources: Callable[[int], tuple[str, ...]]) -> list[Json]:
    """One endpoint's policy map; denies first, then by identity and port."""
    found = [_policy_entry(key, value, names, sources) for key, value in zip(keys, entries, strict=True)]
    order = ("direction", "identity", "port")
    return sorted(found, key=lambda item: (not item["deny"], *(item[name] for name in order)))


def _policy_entry(key: Any, value: Any, names: Names, sources: Callable[[int], tuple[str, ...]]) -> Json:
    prefix = int(key["prefixlen"])
    identity, cookie = int(key["sec_label"]), int(value["cookie"])
    return {
        "deny": bool(value["deny"]),
        "direction": "egress" if key["egress"] else "ingress",
        "identity": identity,
        "labels": names(identity) if identity else [],
        "port": _ports(int(key["protocol"]), int(key["dport"]), prefix),
        "proxy_port": int(value["proxy_port"]),
        "auth_type": "disabled",
        "bytes": int(value["bytes"]),
        "packets": int(value["packets"]),
        "prefix": prefix,
        "precedence": int(value["precedence"]),
        "cookie": cookie,
        "policies": list(sources(cookie)),
    }


STATIC_BITS, PROTOCOL_BITS, PORT_BITS = 40, 8, 16  # of a policy key's prefix length


def _ports(protocol: int, port: int, prefix: int) -> str:
    """80/TCP, 80-95/TCP, ANY/TCP, EchoRequest as 8/ICMP, ANY."""
    if prefix <= STATIC_BITS:
        return "ANY"
    name = values.protocol(protocol)
    bits = prefix - STATIC_BITS - PROTOCOL_BITS
    if bits <= 0:
        return f"ANY/{name}"
    if name.startswith("ICMP"):
        return f"{port >> 8}/{name}"
    last = port | (1 << (PORT_BITS - bits)) - 1
    return f"{port}/{name}" if last == port else f"{port}-{last}/{name}"


def ipcache(keys: Array, entries: Array) -> list[Json]:
    found = []
    for key, value in zip(keys, entries, strict=True):
        family = int(key["family"])
        found.append(
            {
                "prefix": f"{values.address(key['ip'], family)}/{int(key['prefixlen']) - 32}",
                "identity": int(value["sec_identity"]),
                "key": int(value["key"]),
                "tunnel_endpoint": values.address(value["tunnel_endpoint"]),
                "flags": int(value["flags"]),
            }
        )
    return sorted(found, key=lambda item: views.by_address(str(item["prefix"])))


def endpoints(keys: Array, entries: Array) -> list[Json]:
    found = []
    for key, value in zip(keys, entries, strict=True):
        flags = int(value["flags"])
        found.append(
            {
                "address": values.address(key["ip"], int(key["family"])),
                "host": bool(flags & 1),
                "id": int(value["lxc_id"]),
                "identity": int(value["sec_id"]),
                "flags": flags,
                "ifindex": int(value["ifindex"]),
                "interface": values.ifname(int(value["ifindex"])),
                "mac": values.mac(int(value["mac"])),
                "node_mac": values.mac(int(value["node_mac"])),
            }
        )
    return sorted(found, key=lambda item: views.by_address(str(item["address"])))


CT_MAPS = (
    ("cilium_ct4_global", 1),
    ("cilium_ct_any4_global", 1),
    ("cilium_ct6_global", 2),
    ("cilium_ct_any6_global", 2),
)


def ct(dump: Dump) -> list[Json]:
    """Every connection that has not expired."""
    now = int(time.clock_gettime(time.CLOCK_MONOTONIC))
    return [item for name, family in CT_MAPS for item in _connections(*dump(name), family, now)]


def _connections(keys: Array, entries: Array, family: int, now: int) -> Iterator[Json]:
    alive = entries["lifetime"] > now
    for key, value in zip(keys[alive], entries[alive], strict=True):
        yield {
            "protocol": values.protocol(int(key["nexthdr"])),
            "direction": "IN" if key["flags"] & 1 else "OUT",
            "source": values.endpoint(values.address(key["saddr"], family), int(key["sport"])),
            "destination": values.endpoint(values.address(key["daddr"], family), int(key["dport"])),
            "expires": int(value["lifetime"]) - now,
            "packets": int(value["packets"]),
            "bytes": int(value["bytes"]),
            "tx_flags": int(value["tx_flags_seen"]),
            "rx_flags": int(value["rx_flags_seen"]),
            "flags": int(value["flags"]),
            "rev_nat": int(value["rev_nat_index"]),
            "source_identity": int(value["src_sec_id"]),
        }
