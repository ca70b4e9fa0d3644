"""Which addresses are answered for on which devices, as entries of the responder's maps. Pure; called by `l2`."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence

import numpy as np

from seta_agent.desired.encode import Array, Dtype, Entries, entries, put_bytes
from seta_agent.tables import Announcement, NodeAnnouncements
from seta_crds import interfaces

V4, V6, DEVICES = "cilium_l2_responder_v4", "cilium_l2_responder_v6", "seta_l2_devices"
MAPS = {4: V4, 6: V6}  # IP version -> map


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """A native device as it is now."""

    name: str
    index: int
    mac: bytes
    up: bool  # administratively, with carrier, and with our programs on it


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Answer:
    version: int
    packed: bytes  # the address
    ifindex: int


def answers(announced: NodeAnnouncements | None, links: Iterable[Link]) -> set[Answer]:
    """Each announced address on each device that is up and matches."""
    if announced is None:
        return set()
    up = [link for link in links if link.up]
    return {
        Answer(address.version, address.packed, link.index)
        for service in announced.services
        for link in up
        if matches(service, link.name)
        for address in service.addresses
    }


def matches(service: Announcement, device: str) -> bool:
    """Any expression, found anywhere in the name; none at all means every device."""
    return not service.interfaces or any(_search(expression, device) for expression in service.interfaces)


@functools.lru_cache(maxsize=4096)
def _search(expression: str, device: str) -> bool:
    """The operator has refused what cannot be read; should one get here, it matches nothing."""
    try:
        return interfaces.matches((expression,), device)
    except re.error:
        return False


def responder(wanted: Sequence[Answer], key: Dtype, value: Dtype) -> Entries:
    """Entries of one family's map, in the order of the answers. The counts in them are the datapath's."""
    keys = np.zeros(len(wanted), key)
    keys["ifindex"] = [answer.ifindex for answer in wanted]
    if "ip4" in (key.names or ()):
        keys["ip4"] = [int.from_bytes(answer.packed) for answer in wanted]
    else:
        put_bytes(keys, "ip6", b"".join(answer.packed for answer in wanted))
    return entries(keys, np.zeros(len(wanted), value))


def devices(links: Iterable[Link], key: Dtype, value: Dtype) -> Entries:
    """The MAC that answers name, for each device that is up."""
    up = [link for link in links if link.up]
    keys: Array = np.array([link.index for link in up], key)
    values = np.zeros(len(up), value)
    put_bytes(values, "mac", b"".join(link.mac for link in up))
    return entries(keys, values)
