"""Any map's entries as strings, for `seta map get`: the field's forms where it has one, else `field=value`. Pure.

In: a map's two arrays, with the field names of the BTF.
"""

import ipaddress
from collections.abc import Callable
from typing import Any

import numpy as np

from seta_agent.api import values
from seta_agent.api.lbdumps import SOURCE_STATIC_BITS

Array = np.ndarray[Any, np.dtype[Any]]
Json = dict[str, Any]
Form = Callable[[Any, Any], tuple[str, str]]  # key, value -> their strings


def entries(name: str, keys: Array, found: Array) -> list[Json]:
    """Sorted by key. Per-CPU values are summed up."""
    form = _form(name)
    totals = values.summed(found) if found.ndim > 1 else found
    family = values.FAMILY_V6 if name.startswith("cilium_lb6_") else 0
    pairs = sorted(form(*_readable(key, value, family)) for key, value in zip(keys, totals, strict=True))
    return [{"key": key, "value": value, "state": "sync", "error": ""} for key, value in pairs]


def _readable(key: Any, value: Any, family: int) -> tuple[Any, Any]:
    """Key and value with addresses and MACs as text; the family of a 16-byte address is the map's, or in the key."""
    names = getattr(key, "dtype", np.dtype("u1")).names or ()
    family = family or (int(key["family"]) if "family" in names else 0)
    return values.readable(key, family), values.readable(value, family)


def _form(name: str) -> Form:
    for suffix, form in _LB_FORMS.items():
        if name in (f"cilium_lb4_{suffix}", f"cilium_lb6_{suffix}"):
            return form
    if name == "cilium_lb_affinity_match":
        return _affinity_match
    if name.startswith("cilium_policy_v2_"):
        return _policy
    return lambda key, value: (plain(key), plain(value))


def _service(key: Any, value: Any) -> tuple[str, str]:
    where = values.endpoint(key["address"], key["dport"])
    scope = "/i" if key["scope"] == 1 else ""
    counted = f"{value['backend_id']} {value['count']}[{value['qcount']}] ({value['rev_nat_index']})"
    return (
        f"{where}/{values.protocol(key['proto'])}{scope} ({key['backend_slot']})",
        f"{counted} [{value['flags']:#x} {value['flags2']:#x}]",
    )


def _backend(key: Any, value: Any) -> tuple[str, str]:
    where = values.endpoint(value["address"], value["port"])
    return str(key), f"{values.protocol(value['proto']).lower()}://{where}[{value['zone']}]"


def _reverse_nat(key: Any, value: Any) -> tuple[str, str]:
    return str(key), values.endpoint(value["address"], value["port"])


def _reverse_sk(key: Any, value: Any) -> tuple[str, str]:
    return (
        f"[{key['address']}]:{key['port']}, {key['cookie']}",
        f"[{value['address']}]:{value['port']}, {value['rev_nat_index']}",
    )


def _affinity(key: Any, value: Any) -> tuple[str, str]:
    return f"{_client(key)} {key['netns']} {key['rev_nat_id']}", f"{value['backend_id']} {value['last_used']}"


def _client(key: Any) -> str:
    """An address or, of a socket, its network namespace's cookie: in either family the first eight bytes."""
    client = key["client_id"]
    if isinstance(client, int):
        return str(client) if key["netns"] else str(ipaddress.IPv4Address(client.to_bytes(8, "little")[:4]))
    return str(int.from_bytes(ipaddress.IPv6Address(client).packed[:8], "little")) if key["netns"] else client


def _affinity_match(key: Any, value: Any) -> tuple[str, str]:
    return f"{key['backend_id']} {key['rev_nat_id']}", str(value)


def _source_range(key: Any, value: Any) -> tuple[str, str]:
    return f"{key['addr']}/{key['prefixlen'] - SOURCE_STATIC_BITS} ({key['rev_nat_id']})", str(value)


_LB_FORMS: dict[str, Form] = {
    "services_v2": _service,
    "backends_v3": _backend,
    "reverse_nat": _reverse_nat,
    "reverse_sk": _reverse_sk,
    "affinity": _affinity,
    "source_range": _source_range,
}


def _policy(key: Any, value: Any) -> tuple[str, str]:
    direction = "Egress" if key["egress"] else "Ingress"
    return f"{direction}: {key['sec_label']} {key['dport']}/{values.protocol(key['protocol'])}", plain(value)


def plain(entry: Any) -> str:
    """A number as it is, a structure by its fields."""
    if not isinstance(entry, dict):
        return str(entry)
    return " ".join(f"{name}={plain(value)}" for name, value in entry.items())
