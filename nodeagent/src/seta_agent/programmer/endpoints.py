"""The stage that keeps this node's endpoints: policy maps, cilium_lxc, links, routes. Called by `node`.

In the order that fails closed. A new endpoint gets its policy map, then its links and routes, and its entry in
cilium_lxc last: without that nothing is delivered to it or taken from it. A changed policy gets its new entries, then
the endpoint's flags, then loses its old entries. A removed endpoint loses its cilium_lxc entry first.
"""

import asyncio
import dataclasses
from collections.abc import Callable

import structlog

from seta_agent.bpf.errors import BpfError
from seta_agent.desired import endpoints, policymap, routes
from seta_agent.desired.endpoints import HOST_ENDPOINT
from seta_agent.programmer import cutoff, gc
from seta_agent.programmer.endpointpolicy import EndpointPolicy, PolicyEngine
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.programmer.hostdevices import HostDevices, OnNetlink
from seta_agent.programmer.hostendpoint import HostStage, flags_of
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.nodesetup import NodeSetup
from seta_agent.programmer.programs import ON_ENDPOINT, Programs
from seta_agent.settings import Settings
from seta_agent.tables import Endpoint, Node, Tables

LXC = "cilium_lxc"
SOCKET_OPT_OUT = "seta_sock_optout"
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Programmed:
    """An endpoint as it stands in the kernel."""

    row: Endpoint
    policy: EndpointPolicy  # without its entries: they are in the map


class EndpointStage:
    """Owns what is known of each endpoint in the kernel; dirty are the endpoint ids to look at again."""

    def __init__(self, settings: Settings, tables: Tables, wake: Callable[[], None]) -> None:
        self._tables = tables
        self._wake = wake
        self.engine = PolicyEngine(tables, settings.enable_policy, settings.node_name, wake)
        self.cookies = policymap.Cookies()
        self.host = HostStage(settings, tables, self.engine, self.cookies)
        self.programmed: dict[int, Programmed] = {}  # endpoint id -> what is in the kernel
        self.errors: dict[int, str] = {}  # endpoint id -> why it is not programmed
        self.enforced: dict[str, int] | None = None  # policy name -> generation that the kernel enforces
        self._enforced_listeners: list[Callable[[], None]] = []
        self._connected: dict[int, Endpoint] = {}  # endpoint id -> the row whose links and routes are there
        self._dirty: set[int] = set()
        self._removing: set[int] = set()  # ids that are being taken out of the kernel
        self._swept = False
        tables.endpoints.subscribe(self._changed, wake)

    def is_programmed(self, number: int) -> bool:
        """Whether the kernel holds an endpoint as its row says."""
        row, found = self._tables.endpoints.get(number), self.programmed.get(number)
        return row is not None and found is not None and found.row == row and number not in self.errors

    def policy_of(self, number: int) -> EndpointPolicy | None:
        """What the kernel enforces on an endpoint or, for HOST_ENDPOINT, on the node itself."""
        if number == HOST_ENDPOINT:
            return self.host.policy
        found = self.programmed.get(number)
        return found.policy if found else None

    def knows(self, number: int) -> bool:
        """Whether something of an endpoint may be left in the kernel."""
        return number in self.programmed or number in self._dirty or number in self._removing

    def waits_for(self, number: int) -> str:
        """Why an endpoint is not programmed, "" where nothing is known."""
        row = self._tables.endpoints.get(number)
        if row is None:
            return "there is no such endpoint"
        if row.identity is None:
            return "it has no identity yet"
        if not self._tables.policy_listed:
            return "the policies have not been listed yet"
        return self.errors.get(number, "")

    def subjects(self) -> dict[int, cutoff.Subject]:
        """Address -> endpoint whose policy decides about connections; one under audit lets all of them go on."""
        return {
            int(found.row.ipv4): cutoff.Subject(
                number,
                ingress=found.policy.ingress.enforced and not found.row.audit,
                egress=found.policy.egress.enforced and not found.row.audit,
            )
            for number, found in self.programmed.items()
        }

    def retry(self) -> None:
        """Look again at what failed."""
        self._dirty |= self.errors.keys()

    def recheck(self) -> None:
        """Look at every endpoint again: its links, routes and maps."""
        self._dirty |= {row.id for row in self._tables.endpoints}
        self._connected.clear()
        self.host.recheck()

    async def apply(self, setup: NodeSetup, own: Node, netlink: OnNetlink) -> None:
        """Bring the kernel up to date. Nothing but removals happens before `policy_listed`."""
        if not self._tables.endpoints.synced:
            return
        await self._remove_gone(setup, netlink)
        if not self._tables.policy_listed:
            return
        concerned = self.engine.concerned()
        self._dirty |= {row.id for row in self._tables.endpoints if row.identity in concerned}
        # What went while others were removed keeps its mark: the change that took it also woke the next pass.
        dirty = {number for number in self._dirty if self._wanted(number)}
        self._dirty -= dirty
        try:
            await self._program([row for number in sorted(dirty) if (row := self._wanted(number))], setup, own, netlink)
        except BpfError:
            self._dirty |= dirty
            raise
        self.host.apply(setup, own)
        self._sweep(setup)
        self._take_enforced()
        self.engine.settle()

    def on_enforced(self, listener: Callable[[], None]) -> None:
        """Be told when `enforced` changes."""
        self._enforced_listeners.append(listener)

    def _take_enforced(self) -> None:
        """What is in force is enforced; of an endpoint that could not be programmed the version before, if any, is."""
        found = self.engine.index.generations()
        failed = {row.identity for number in self.errors if (row := self._wanted(number)) and row.identity}
        for name in {row.name for identity in failed for row in self.engine.index.selecting(identity)}:
            del found[name]
            if self.enforced and name in self.enforced:
                found[name] = self.enforced[name]
        if found != self.enforced:
            self.enforced = found
            for listener in self._enforced_listeners:
                listener()

    async def _remove_gone(self, setup: NodeSetup, netlink: OnNetlink) -> None:
        """Marks are taken before the work: an id that is used again meanwhile is marked again."""
        self._removing = {number for number in self._dirty if not self._wanted(number)}
        self._dirty -= self._removing
        try:
            await self._remove(sorted(self._removing), setup, netlink)
        except (BpfError, ProgrammingError):
            self._dirty |= self._removing
            raise
        finally:
            self._removing = set()

    async def _program(self, rows: list[Endpoint], setup: NodeSetup, own: Node, netlink: OnNetlink) -> None:
        ready = [row for row in rows if await self._prepare(row, setup, own, netlink)]
        self._write_lxc(ready, setup.maps)
        self._write_opt_outs(setup.maps)
        for row in ready:
            if row.id not in self.errors:
                setup.policy_maps.drop_stale(row.id)
                self.programmed[row.id] = Programmed(row, self.engine.of(row).outline)

    def _changed(self, number: int) -> None:
        self._dirty.add(number)
        self._wake()

    def _wanted(self, number: int) -> Endpoint | None:
        """The row of an endpoint that is to be programmed."""
        row = self._tables.endpoints.get(number)
        return row if row and row.identity is not None else None

    async def _prepare(self, row: Endpoint, setup: NodeSetup, own: Node, netlink: OnNetlink) -> bool:
        """Everything of an endpoint but cilium_lxc: whether that may be written.

        A failure is this endpoint's, told and tried again. A policy that could not be written whole does not keep
        cilium_lxc back: its flags say that policy is enforced, and what is missing in the map is dropped.
        """
        told = self.errors.pop(row.id, None)
        try:
            if self._connected.get(row.id) != row:
                await self._connect(row, setup.programs, own, netlink)
            entries = policymap.encode(self.engine.of(row).by_egress, self.cookies, *setup.policy_maps.layout)
            setup.policy_maps.fill(row.id, entries)
        except (BpfError, ProgrammingError) as error:
            self.errors[row.id] = str(error)
            if told != str(error):
                pod = f"{row.namespace}/{row.pod}"
                log.warning("endpoint_not_programmed", endpoint=row.id, pod=pod, reason=str(error))
        return self._connected.get(row.id) == row

    async def _connect(self, row: Endpoint, programs: Programs, own: Node, netlink: OnNetlink) -> None:
        """Links, neighbour and route; those of the id's earlier endpoint go."""
        before = self._connected.pop(row.id, None)
        if before and (before.ifname, before.ipv4, before.ipv6) != (row.ifname, row.ipv4, row.ipv6):
            await self._disconnect(before, programs, netlink)
        for link in programs.device_links(row.ifname, row.ifindex, ON_ENDPOINT):
            programs.attach(link)
        await netlink(lambda host: _connect(host, row, own))
        self._connected[row.id] = row

    def _write_lxc(self, rows: list[Endpoint], maps: KernelMaps) -> None:
        reconciler = maps.reconciler(LXC)
        layout = maps.layout(LXC)
        for row in rows:
            entries = endpoints.of_endpoint(row, flags_of(self.engine.of(row), audit=row.audit), *layout)
            reconciler.set(("1-endpoint", str(row.id)), entries)
        reconciler.complete()
        reconciler.apply()

    def _write_opt_outs(self, maps: KernelMaps) -> None:
        """After cilium_lxc: packets that no socket translates any more must be looked up by then."""
        reconciler = maps.reconciler(SOCKET_OPT_OUT)
        reconciler.set(("endpoints",), endpoints.opted_out(self._tables.endpoints, *maps.layout(SOCKET_OPT_OUT)))
        reconciler.complete()
        reconciler.apply()

    async def _remove(self, gone: list[int], setup: NodeSetup, netlink: OnNetlink) -> None:
        if not gone:
            return
        reconciler = setup.maps.reconciler(LXC)
        for number in gone:
            reconciler.set(("1-endpoint", str(number)), {})
        reconciler.apply()
        await self._forget(gone, setup.maps)
        for number in gone:
            setup.policy_maps.remove(number)
            self.errors.pop(number, None)
            self.programmed.pop(number, None)
            connected = self._connected.pop(number, None)
            if connected:
                await self._disconnect(connected, setup.programs, netlink)

    async def _forget(self, gone: list[int], maps: KernelMaps) -> None:
        """Connections of addresses that nobody here has any more; in a thread, as it reads whole maps."""
        rows = [found.row for number in gone if (found := self.programmed.get(number))]
        addresses = {ip for row in rows for ip in (row.ipv4, row.ipv6) if ip}
        addresses -= {ip for row in self._tables.endpoints for ip in (row.ipv4, row.ipv6) if ip}
        if addresses:
            await asyncio.to_thread(gc.forget, maps, addresses)

    async def _disconnect(self, row: Endpoint, programs: Programs, netlink: OnNetlink) -> None:
        """Links and routes of a gone endpoint, unless another took over the device."""
        if any(other.ifname == row.ifname and other.id != row.id for other in self._tables.endpoints):
            return
        for link in programs.device_links(row.ifname, row.ifindex, ON_ENDPOINT):
            programs.detach(link.name)
        addresses = {ip for other in self._tables.endpoints for ip in (other.ipv4, other.ipv6)}
        stale = [ip for ip in (row.ipv4, row.ipv6) if ip and ip not in addresses]
        await netlink(lambda host: host.remove_routes([routes.host_route(ip, row.ifname) for ip in stale]))

    def _sweep(self, setup: NodeSetup) -> None:
        """Once after the start: what an earlier agent left of endpoints that are no more."""
        if self._swept:
            return
        self._swept = True
        wanted = {row.id for row in self._tables.endpoints} | ({HOST_ENDPOINT} if self.host.enabled else set())
        for number in setup.policy_maps.known() - wanted:
            setup.policy_maps.remove(number)
        devices = {row.ifname for row in self._tables.endpoints}
        for name in setup.programs.links():
            if name.startswith("lxc") and name.split("_")[0] not in devices:
                setup.programs.detach(name)


def _connect(host: HostDevices, row: Endpoint, own: Node) -> None:
    wanted, neighbours = routes.to_endpoint(row, own)
    host.relax_source_check(row.ifname)
    for neighbour in neighbours:
        host.add_neighbour(neighbour)
    for route in wanted:
        host.add_route(route)
