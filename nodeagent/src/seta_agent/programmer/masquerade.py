"""Keeps seta_masquerade: what this node is called on native devices that do not have its InternalIP. Called by `node`.

A packet that leaves by such a device with the InternalIP may get no answer, since the network behind it need not know
that address. Devices without an address of their own use the InternalIP nevertheless.
"""

from collections.abc import Iterable

import numpy as np

from seta_agent.desired.encode import FAMILY, Dtype, Entries, entries, ip16, put_bytes
from seta_agent.programmer.hostdevices import Device
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.tables import IPAddress, Node, OwnAddress

MAP = "seta_masquerade"
OWNER = ("node",)


def apply(maps: KernelMaps, own: Node, native: Iterable[Device], addresses: Iterable[OwnAddress]) -> None:
    """Bring the kernel up to date."""
    reconciler = maps.reconciler(MAP)
    reconciler.complete()  # nobody else writes here, and the kernel has been asked for all there is
    reconciler.set(OWNER, encode(_sources(own, native, addresses), *maps.layout(MAP)))
    if reconciler.pending:
        reconciler.apply()


def encode(sources: dict[tuple[int, int], IPAddress], key: Dtype, value: Dtype) -> Entries:
    """`sources`: (ifindex, IP version) -> address."""
    keys, values = np.zeros(len(sources), key), np.zeros(len(sources), value)
    keys["ifindex"] = [index for index, _ in sources]
    keys["family"] = [FAMILY[version] for _, version in sources]
    put_bytes(values, "ip", b"".join(map(ip16, sources.values())))
    return entries(keys, values)


def _sources(own: Node, native: Iterable[Device], addresses: Iterable[OwnAddress]) -> dict[tuple[int, int], IPAddress]:
    """The first address of each device and family, the kernel's choice too, unless it has the InternalIP."""
    wanted = {device.index for device in native}
    found: dict[tuple[int, int], IPAddress] = {}
    for row in addresses:
        place = (row.ifindex, row.address.version)
        if row.ifindex not in wanted:
            continue
        if row.address in own.internal_ips:
            found[place] = row.address
        elif not row.secondary:
            found.setdefault(place, row.address)
    return {place: address for place, address in found.items() if address not in own.internal_ips}
