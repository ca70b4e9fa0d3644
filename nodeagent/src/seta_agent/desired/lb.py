"""Service tables as the bytes of the LB maps, for many services at once.

Called by the programmer. Each service is the owner of its frontends (slot 0), its slots (1..n), its reverse-NAT
entries, its source ranges and a share of its backends. A service without usable backends keeps slot 0 with count 0:
connecting to it is refused, instead of going out to an address that nobody has.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from seta_agent.desired import lbfrontends
from seta_agent.desired.encode import PROTOCOLS, Array, Dtype, Entries, field_of
from seta_agent.desired.lbchoice import Choice
from seta_agent.desired.lbcolumns import Columns
from seta_agent.desired.lbfrontends import AFFINITY, MAGLEV, SOURCE_RANGE, Front
from seta_agent.desired.lbids import BackendIds, FrontendIds, Owner
from seta_agent.desired.lbnode import NodeView
from seta_agent.tables import Backend, IPAddress, Service, ServicePort

STATES = {"active": 0, "terminating": 1, "quarantined": 2, "maintenance": 3, "terminating-not-serving": 4}
QUARANTINED = 0x4000  # `enum lb_flag`, of a slot
EXTERNAL, INTERNAL = 0, 1  # `enum lb_scope`
AFFINITY_MATCH = "cilium_lb_affinity_match"  # both families
Layout = tuple[Dtype, Dtype]  # of key and value
Tables = dict[int, tuple[int, ...]]  # reverse NAT index -> ids of the backends that are to share its Maglev table


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """The maps of one family."""

    version: int
    services: str
    backends: str
    reverse: str
    ranges: str
    maglev: str


FAMILIES = (
    Names(
        4,
        "cilium_lb4_services_v2",
        "cilium_lb4_backends_v3",
        "cilium_lb4_reverse_nat",
        "cilium_lb4_source_range",
        "cilium_lb4_maglev",
    ),
    Names(
        6,
        "cilium_lb6_services_v2",
        "cilium_lb6_backends_v3",
        "cilium_lb6_reverse_nat",
        "cilium_lb6_source_range",
        "cilium_lb6_maglev",
    ),
)
MAPS = (AFFINITY_MATCH, *(name for names in FAMILIES for name in dataclasses.astuple(names)[1:5]))  # with plain entries


@dataclasses.dataclass(slots=True)
class Wanted:
    """What some services contribute."""

    entries: dict[str, dict[Owner, Entries]]  # map -> owner -> entries
    tables: dict[str, dict[Owner, Tables]]  # map of Maglev tables -> owner -> its tables


def addresses(values: Array, field: str = "address") -> list[IPAddress]:
    """The address fields of backends, or of keys of frontends, of either family."""
    dtype, offset = field_of(values.dtype, field)
    size, width = dtype.itemsize, values.dtype.itemsize
    make = ipaddress.IPv4Address if size == 4 else ipaddress.IPv6Address
    raw = values.tobytes()
    return [make(raw[at + offset : at + offset + size]) for at in range(0, len(raw), width)]


def contributions(
    services: Iterable[tuple[Owner, Service | None]],
    view: NodeView,
    ids: BackendIds,
    numbers: FrontendIds,
    layouts: Mapping[str, Layout],
) -> Wanted:
    """What each service (None: deleted) contributes to each LB map."""
    match = Columns(("backend_id", "rev_nat_id", "scope"), ("",))
    families = [_Family(names, view, ids, match) for names in FAMILIES]
    for owner, service in services:
        match.begin(owner)
        given = numbers.assign(owner, lbfrontends.wanted_numbers(service, view) if service else frozenset())
        for family in families:
            family.begin(owner)
            if service:
                family.add(service, given)
    entries = {AFFINITY_MATCH: match.entries(*layouts[AFFINITY_MATCH])}
    for family in families:
        for name, columns in family.columns():
            entries[name] = columns.entries(*layouts[name])
    return Wanted(entries, {family.names.maglev: family.tables for family in families})


class _Family:
    """The columns of one family's maps, filled service by service."""

    def __init__(self, names: Names, view: NodeView, ids: BackendIds, match: Columns) -> None:
        self.names = names
        self.tables: dict[Owner, Tables] = {}
        self._view, self._ids, self._match = view, ids, match
        self._owner: Owner = ("", "")
        key = ("dport", "backend_slot", "proto", "scope")
        value = ("backend_id", "count", "rev_nat_index", "flags", "flags2", "qcount")
        self._services = Columns(key, value, key_address="address")
        self._backends = Columns(("",), ("port", "proto", "flags"), value_address="address")
        self._reverse = Columns(("",), ("port",), value_address="address")
        self._ranges = Columns(("prefixlen", "rev_nat_id"), ("",), key_address="addr")

    def columns(self) -> Iterator[tuple[str, Columns]]:
        yield self.names.services, self._services
        yield self.names.backends, self._backends
        yield self.names.reverse, self._reverse
        yield self.names.ranges, self._ranges

    def begin(self, owner: Owner) -> None:
        self._owner, self.tables[owner] = owner, {}
        for _, one in self.columns():
            one.begin(owner)

    def add(self, service: Service, given: lbfrontends.Numbers) -> None:
        seen: set[tuple[IPAddress, int, int]] = set()  # an address that is there twice counts as what comes first
        for port in service.ports:
            protocol, fronts = PROTOCOLS[port.protocol], []
            for front in lbfrontends.of_port(service, port, self.names.version, self._view, given):
                place = front.address, front.port, protocol
                if place not in seen:
                    seen.add(place)
                    fronts.append(front)
            if fronts:
                self._add_port(service, port, protocol, fronts)

    def _add_port(self, service: Service, port: ServicePort, protocol: int, fronts: Sequence[Front]) -> None:
        ids: dict[Backend, int] = {}
        for backend in port.backends:
            if backend.address.version == self.names.version:
                number = ids[backend] = self._ids.take((backend.address, backend.port, protocol))
                self._backends.add_at(backend.address, number, backend.port, protocol, STATES[backend.state])
        numbers: set[int] = set()
        for front in fronts:
            self._add_front(front, protocol, ids)
            if front.number not in numbers:  # the address that stands for any has another one's number
                numbers.add(front.number)
                self._add_number(service, front, ids)

    def _add_front(self, front: Front, protocol: int, ids: Mapping[Backend, int]) -> None:
        self._add_scope(front, protocol, EXTERNAL, front.outside, ids)
        if front.inside:
            self._add_scope(front, protocol, INTERNAL, front.inside, ids)

    def _add_scope(self, front: Front, protocol: int, scope: int, choice: Choice, ids: Mapping[Backend, int]) -> None:
        add, address, port, number = self._services.add_at, front.address, front.port, front.number
        how = front.affinity_seconds | (MAGLEV << 24 if front.is_maglev and scope == EXTERNAL else 0)
        low, high = front.flags & 0xFF, front.flags >> 8
        usable, further = choice
        add(address, port, 0, protocol, scope, how, len(usable), number, low, high, len(further))
        for slot, backend in enumerate(usable, 1):
            add(address, port, slot, protocol, scope, ids[backend], 0, number, 0, 0, 0)
        for slot, backend in enumerate(further, len(usable) + 1):
            flag = QUARANTINED >> 8 if backend.state == "quarantined" else 0
            add(address, port, slot, protocol, scope, ids[backend], 0, number, 0, flag, 0)

    def _add_number(self, service: Service, front: Front, ids: Mapping[Backend, int]) -> None:
        """What hangs on the reverse NAT index."""
        self._reverse.add_at(front.address, front.number, front.port)
        if front.flags & AFFINITY:
            for scope, choice in ((EXTERNAL, front.outside), (INTERNAL, front.inside)):
                for backend in choice.usable if choice else ():
                    self._match.add(ids[backend], front.number, scope, 1)
        if front.flags & SOURCE_RANGE:
            for network in service.source_ranges:
                if network.version == self.names.version:
                    self._ranges.add_at(network.network_address, 32 + network.prefixlen, front.number, 1)
        if front.is_maglev and front.outside.usable:
            self.tables[self._owner][front.number] = tuple(ids[backend] for backend in front.outside.usable)
