"""Service tables as the bytes of the LB maps, for many services at once.

Called by the programmer. Each service is the owner of its frontends (slot 0), its slots (1..n), its reverse-NAT
entries and a share of its backends. A service without usable backends keeps slot 0 with count 0: connecting to it is
refused, instead of going out to an address that nobody has.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from seta_agent.desired.encode import PROTOCOLS, Array, Dtype, Entries, field_of, put_bytes, rows
from seta_agent.tables import Backend, Frontend, IPAddress, Service, ServicePort

FLAGS = {  # what operator and types call them -> `enum lb_flag`, flags | flags2 << 8
    "ExternalIPs": 0x1 | 0x40,
    "NodePort": 0x2 | 0x40,
    "ExtLocal": 0x4,
    "HostPort": 0x8 | 0x40,
    "SessionAffinity": 0x10,
    "LoadBalancer": 0x20 | 0x40,
    "SourceRange": 0x80,
    "LocalRedirect": 0x100,
    "L7LB": 0x400,
    "Loopback": 0x800,
    "IntLocal": 0x1000,
    "TwoScopes": 0x2000,
    "DSR": 0x8000,
}
STATES = {"active": 0, "terminating": 1, "quarantined": 2, "maintenance": 3, "terminating-not-serving": 4}
Owner = tuple[str, str]  # namespace, name of the service
Layout = tuple[Dtype, Dtype]  # of key and value


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """The maps of one family."""

    version: int
    services: str
    backends: str
    reverse: str


FAMILIES = (
    Names(4, "cilium_lb4_services_v2", "cilium_lb4_backends_v3", "cilium_lb4_reverse_nat"),
    Names(6, "cilium_lb6_services_v2", "cilium_lb6_backends_v3", "cilium_lb6_reverse_nat"),
)
BackendKey = tuple[IPAddress, int, int]  # address, port, protocol number


class BackendIds:
    """Numbers of backends, local to the node; those found in the kernel at start are used again."""

    def __init__(self) -> None:
        self._ids: dict[BackendKey, int] = {}  # backend -> id
        self._backends: dict[int, BackendKey] = {}  # id -> backend
        self._next = 1

    def restore(self, found: Mapping[int, BackendKey]) -> None:
        for number, backend in found.items():
            self._ids.setdefault(backend, number)
            self._backends[number] = backend
        self._next = max(self._backends, default=0) % 0xFFFFFFFF + 1

    def take(self, backend: BackendKey) -> int:
        known = self._ids.get(backend)
        if known is not None:
            return known
        number = self._next
        while number in self._backends:
            number = number % 0xFFFFFFFF + 1
        self._next = number % 0xFFFFFFFF + 1
        self._ids[backend], self._backends[number] = number, backend
        return number

    def release(self, number: int) -> None:
        """No service uses it any more, and it is gone from the kernel."""
        backend = self._backends.pop(number, None)
        if backend is not None and self._ids.get(backend) == number:
            del self._ids[backend]


def addresses(values: Array) -> list[IPAddress]:
    """The address fields of backends or frontends, of either family."""
    dtype, offset = field_of(values.dtype, "address")
    size, width = dtype.itemsize, values.dtype.itemsize
    make = ipaddress.IPv4Address if size == 4 else ipaddress.IPv6Address
    raw = values.tobytes()
    return [make(raw[at + offset : at + offset + size]) for at in range(0, len(raw), width)]


def usable(backends: Sequence[Backend]) -> list[Backend]:
    """Those that new connections may go to: the active ones, or the terminating that still serve if none is left."""
    active = [backend for backend in backends if backend.state == "active"]
    return active or [backend for backend in backends if backend.state == "terminating"]


def contributions(
    services: Iterable[tuple[Owner, Service | None]], ids: BackendIds, layouts: Mapping[str, Layout]
) -> dict[str, dict[Owner, Entries]]:
    """What each service (None: deleted) contributes to each LB map: map name -> owner -> entries."""
    listed = list(services)
    result: dict[str, dict[Owner, Entries]] = {}
    for names in FAMILIES:
        columns = _Columns()
        for owner, service in listed:
            columns.begin(owner)
            for port in service.ports if service else ():
                columns.add(port, names.version, ids)
        result[names.services] = columns.services.entries(*layouts[names.services])
        result[names.backends] = columns.backends.entries(*layouts[names.backends])
        result[names.reverse] = columns.reverse.entries(*layouts[names.reverse])
    return result


class _Rows:
    """Rows of one map, gathered as columns: addresses as raw bytes, the rest as numbers, and whose they are."""

    def __init__(self, key_fields: Sequence[str], value_fields: Sequence[str], *, address_in_key: bool) -> None:
        self.address_in_key = address_in_key
        self.key_fields = key_fields
        self.value_fields = value_fields
        self.addresses: list[bytes] = []
        self.numbers: list[tuple[int, ...]] = []
        self.starts: list[tuple[Owner, int]] = []  # owner, index of its first row

    def add(self, address: IPAddress, *numbers: int) -> None:
        self.addresses.append(address.packed)
        self.numbers.append(numbers)

    def entries(self, key: Dtype, value: Dtype) -> dict[Owner, Entries]:
        count = len(self.numbers)
        keys, values = np.zeros(count, key), np.zeros(count, value)
        if count:
            table = np.array(self.numbers, np.int64)
            put_bytes(keys if self.address_in_key else values, "address", b"".join(self.addresses))
            _fill(keys, self.key_fields, table)
            _fill(values, self.value_fields, table[:, len(self.key_fields) :])
        pairs = list(zip(rows(keys), rows(values), strict=True))
        bounds = [*(start for _, start in self.starts), count]
        return {owner: dict(pairs[start : bounds[i + 1]]) for i, (owner, start) in enumerate(self.starts)}


def _fill(array: Array, fields: Sequence[str], table: Array) -> None:
    for column, field in enumerate(fields):
        if field:
            array[field] = table[:, column]
        else:
            array[...] = table[:, column]


class _Columns:
    def __init__(self) -> None:
        key = ("dport", "backend_slot", "proto", "scope")
        self.services = _Rows(key, ("backend_id", "count", "rev_nat_index", "flags", "flags2"), address_in_key=True)
        self.backends = _Rows(("",), ("port", "proto", "flags"), address_in_key=False)
        self.reverse = _Rows(("",), ("port",), address_in_key=False)

    def begin(self, owner: Owner) -> None:
        for one in (self.services, self.backends, self.reverse):
            one.starts.append((owner, len(one.numbers)))

    def add(self, port: ServicePort, version: int, ids: BackendIds) -> None:
        protocol = PROTOCOLS[port.protocol]
        frontends = [frontend for frontend in port.frontends if frontend.address.version == version]
        if not frontends:
            return
        backends = [backend for backend in port.backends if backend.address.version == version]
        numbers = {b: ids.take((b.address, b.port, protocol)) for b in backends}
        for backend, number in numbers.items():
            self.backends.add(backend.address, number, backend.port, protocol, STATES[backend.state])
        slots = [numbers[backend] for backend in usable(backends)]
        for frontend in frontends:
            self._add_frontend(frontend, protocol, slots)

    def _add_frontend(self, frontend: Frontend, protocol: int, slots: Sequence[int]) -> None:
        flags = flags_of(frontend)
        low, high = flags & 0xFF, flags >> 8
        address, port, reverse = frontend.address, frontend.port, frontend.id
        self.services.add(address, port, 0, protocol, 0, 0, len(slots), reverse, low, high)
        for slot, number in enumerate(slots, 1):
            self.services.add(address, port, slot, protocol, 0, number, 0, reverse, low, high)
        self.reverse.add(address, reverse, port)


def flags_of(frontend: Frontend) -> int:
    """The bits of a frontend's type; unknown ones are later versions' and change nothing here."""
    return FLAGS.get(frontend.type, 0)
