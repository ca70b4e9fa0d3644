"""Policies, addresses and endpoints in the kernel → the JSON of `seta bpf ... list|get`. Called by the backend.

In: a map as two arrays, with the field names of the BTF. What stands here is what the kernel does, not what the agent
wants; where the two differ somebody is looking for that. Services and connections have files of their own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from seta_agent.api import values, views

Json = dict[str, Any]
Array = np.ndarray[Any, np.dtype[Any]]
Names = Callable[[int], list[str]]  # identity -> labels


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


def l2_responder(dump: Callable[[str], tuple[Array, Array]]) -> list[Json]:
    """Addresses that this node answers for on the network, by address and device."""
    found = []
    for version, family in ((4, 1), (6, 2)):
        for key, value in zip(*dump(f"cilium_l2_responder_v{version}"), strict=True):
            index = int(key["ifindex"])
            found.append(
                {
                    "address": values.address(key[f"ip{version}"], family),
                    "ifindex": index,
                    "interface": values.ifname(index),
                    "responses_sent": int(value["responses_sent"]),
                }
            )
    return sorted(found, key=lambda item: (views.by_address(str(item["address"])), item["ifindex"]))
