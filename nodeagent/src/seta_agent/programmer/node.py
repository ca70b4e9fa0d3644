"""The door to the programmer: one node's kernel, kept as the tables say.

`main` calls `start` and then runs `run`; the CNI waits with `endpoint_programmed` and `endpoint_removed`; the API
reads `status`, `maps` and `enforcement`. One task applies: tables only mark what is dirty and wake it, so a burst
of changes is one pass, and a pass costs what changed. A failed pass is told once and tried again.
"""

import asyncio
import concurrent.futures
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from pyroute2.netlink.exceptions import NetlinkError

from seta_agent.bpf.errors import BpfError
from seta_agent.bpf.maps import Array
from seta_agent.desired import lbnode
from seta_agent.programmer import devicewatch, masquerade
from seta_agent.programmer.endpointpolicy import PolicyEngine
from seta_agent.programmer.endpoints import EndpointStage
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.programmer.hostdevices import Device, HostDevices
from seta_agent.programmer.identities import IdentityStage
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.noderoutes import RouteStage
from seta_agent.programmer.nodesetup import NodeSetup
from seta_agent.programmer.services import ServiceStage
from seta_agent.programmer.stale import StaleUdp
from seta_agent.programmer.upkeep import Upkeep
from seta_agent.settings import Settings
from seta_agent.tables import Endpoint, IPAddress, Node, Service, Tables

RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 30.0  # doubled while the same fails again
Result = TypeVar("Result")
log = structlog.get_logger()

__all__ = ["NodeProgrammer", "ProgrammingError"]


class NodeProgrammer:
    """Nothing happens before `start`."""

    def __init__(self, settings: Settings, tables: Tables) -> None:
        self._settings = settings
        self._tables = tables
        self._wake = asyncio.Event()
        self._setup = NodeSetup(settings)
        self._services = ServiceStage(settings, tables, self._wake.set)
        self._identities = IdentityStage(tables, settings.node_name, self._wake.set)
        self._endpoints = EndpointStage(settings, tables, self._wake.set)
        self._routes = RouteStage(settings, tables, self._wake.set)
        self._netlink_thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._host: HostDevices | None = None  # used in the netlink thread only
        self._own: Node | None = None  # the node's row that the kernel is set up for
        self._devices_dirty = False
        self._applied = asyncio.Condition()
        self._failure = ""  # why the last pass did not get through, "" if it did
        self.failing_since: float | None = None  # monotonic seconds; None: the last pass got through
        self._retry: asyncio.TimerHandle | None = None  # when what failed is tried again; one for all
        self._failed: Any = None  # what failed when that was last decided
        self._pause = RETRY_SECONDS
        self._synced = False
        self._passes = 0
        self._pass_seconds = 0.0
        self.upkeep = Upkeep(self._setup, self._endpoints, self.recheck)
        self._stale = StaleUdp(settings, tables, lambda: self._setup.maps)

    @property
    def synced(self) -> bool:
        """Everything has been listed once, and the kernel holds what follows from it."""
        return self._synced

    @property
    def pod_mtu(self) -> int:
        """For `devices.create_pod_veth`."""
        return self._setup.pod_mtu

    @property
    def hooked(self) -> list[Device]:
        """The native devices that the programs hang on."""
        return self._setup.hooked

    async def start(self) -> None:
        """Load, make devices, attach, and apply what the tables hold. `ProgrammingError` with a sentence."""
        own = self._tables.nodes.get(self._settings.node_name)
        if own is None or not own.router_ips:
            raise ProgrammingError(f"node {self._settings.node_name} has no pod CIDR yet: is seta-operator running?")
        self._setup.check_mounts()
        if self._host is None:  # else it was started before, with an address that no device has
            self._host = await self._in_netlink_thread(lambda: HostDevices(self._settings))
        await self._set_up(own)
        await self._pass()

    async def run(self) -> None:
        """Apply changes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._apply_changes())
            tasks.create_task(devicewatch.run(self._device_changed))
            tasks.create_task(self.upkeep.run())
            tasks.create_task(self._stale.run())

    async def close(self) -> None:
        """Let go of descriptors; what is pinned goes on."""
        if self._retry:
            self._retry.cancel()
        if self._host:
            await self._in_netlink_thread(self._host.close)
        self._netlink_thread.shutdown()
        self._services.close()
        self._setup.close()

    async def endpoint_programmed(self, endpoint_id: int, timeout: float) -> None:  # noqa: ASYNC109 (the CNI's deadline)
        """Return when the kernel holds this endpoint as its row says: policy, links, routes, cilium_lxc.

        `ProgrammingError` after `timeout` seconds, with what it waits for.
        """
        try:
            async with asyncio.timeout(timeout), self._applied:
                await self._applied.wait_for(lambda: self._endpoints.is_programmed(endpoint_id))
        except TimeoutError:
            reason = self._endpoints.waits_for(endpoint_id) or self._failure or "the programmer is busy"
            raise ProgrammingError(
                f"endpoint {endpoint_id} is not programmed after {timeout:.0f} s: {reason}"
            ) from None

    async def endpoint_removed(self, endpoint_id: int) -> None:
        """Return when nothing of an endpoint whose row is gone is left in the kernel."""
        async with self._applied:
            await self._applied.wait_for(lambda: not self._endpoints.knows(endpoint_id))

    def enforcement(self, endpoint: Endpoint) -> tuple[bool, bool]:
        """Whether policy is enforced on an endpoint: (ingress, egress). True while that is unknown."""
        found = self._endpoints.programmed.get(endpoint.id)
        return (found.policy.ingress.enforced, found.policy.egress.enforced) if found else (True, True)

    def default_deny(self, endpoint_id: int, *, egress: bool) -> tuple[str, ...]:
        """The policies whose presence makes an endpoint deny what none allows."""
        found = self._endpoints.policy_of(endpoint_id)
        return tuple(sorted(found.by_egress[egress].default_deny)) if found else ()

    def enforced(self) -> dict[str, int] | None:
        """Name of each policy that the kernel enforces -> its generation; None before `tables.policy_listed`."""
        return self._endpoints.enforced

    def on_enforced(self, listener: Callable[[], None]) -> None:
        """Be told when `enforced()` changes."""
        self._endpoints.on_enforced(listener)

    @property
    def policy_engine(self) -> PolicyEngine:
        """The policies in force, for reading."""
        return self._endpoints.engine

    def policies_of(self, cookie: int) -> tuple[str, ...]:
        """The policies behind the cookie of an event or of a policy map's entry."""
        return self._endpoints.cookies.names(cookie)

    def status(self) -> dict[str, Any]:
        """For `seta status`: plain values only."""
        overlay = self._setup.overlay
        return {
            "synced": self._synced,
            "failure": self._failure,
            "routing": self._settings.routing_mode,
            "native_devices": [device.name for device in self._setup.native],
            "tunnel_device": overlay.name if overlay else "",
            "acceleration": dict(self._setup.acceleration.devices),
            "pod_mtu": self.pod_mtu,
            "endpoints_programmed": len(self._endpoints.programmed),
            "services_left_out": self._services.left_out,
            "endpoint_errors": dict(self._endpoints.errors),
            "route_errors": list(self._routes.errors),
            "policies_waiting": sorted(self._endpoints.engine.index.waiting),
            "passes": self._passes,
            "last_pass_seconds": round(self._pass_seconds, 6),
            "collected": dict(self.upkeep.swept),
            "connections_judged_anew": self.upkeep.judged,
            "sockets_closed": self._stale.closed,
            "connections_forgotten": self._stale.forgotten,
        }

    def host_ports(self) -> list[Service]:
        """Host ports of this node's pods, as services."""
        return self._services.host_ports()

    def maps(self) -> KernelMaps:
        """The pinned maps, for reading. `ProgrammingError` before `start`."""
        return self._setup.maps

    def dump_map(self, name: str) -> tuple[Array, Array]:
        """Every entry of a pinned map: keys (n,) and values (n,), of per-CPU maps (n, cpus). `BpfError`; blocking."""
        opened = self._setup.maps.open(name)
        try:
            return opened.dump()
        finally:
            opened.close()

    def map_errors(self, name: str) -> int:
        """How many batches the kernel refused for a map since the start."""
        return self._setup.maps.errors(name)

    async def _set_up(self, own: Node) -> None:
        """At start, and when the node's own addresses change: all stages then look at everything again."""
        host = self._need_host()
        await self._in_netlink_thread(lambda: self._setup.devices(host, own))
        await self._take_addresses(host)
        # In a thread, so that the watches go on listing; in this one, so that close() comes after it.
        lost = await self._in_netlink_thread(lambda: self._setup.load(own))
        self._own = own
        self._services.restore(self._setup.maps)
        self._endpoints.host.restore(self._setup.maps, own)
        for stage in (self._services, self._identities, self._endpoints):
            stage.recheck()
        if lost:
            log.info("links_wait", maps=lost)  # the old programs go on with the old maps until the new are filled
        else:
            self._setup.attach()

    async def _apply_changes(self) -> None:
        while True:
            await self._wake.wait()
            await self._pass()
            await asyncio.sleep(0)  # a pass that woke the next one, and waited for nothing: now others have a turn
            if self._retry is None:
                self._retry_later()

    def _retry_later(self) -> None:
        """What failed, if anything: soon where it is something new, less and less often where it is not."""
        failed = self._failure, dict(self._endpoints.errors), self._routes.errors
        if any(failed):
            self._pause = min(2 * self._pause, LONGEST_RETRY_SECONDS) if failed == self._failed else RETRY_SECONDS
            self._retry = asyncio.get_running_loop().call_later(self._pause, self._try_again)
        self._failed = failed

    def _try_again(self) -> None:
        self._retry = None
        self._endpoints.retry()
        self._routes.retry()
        self._wake.set()

    async def _pass(self) -> None:
        """Every stage once. A stage that fails does not keep the others back; what it could not do stays dirty."""
        self._wake.clear()
        started = time.perf_counter()
        failures = []
        for stage in (
            self._apply_node,
            self._apply_identities,
            self._apply_services,
            self._apply_endpoints,
        ):
            try:
                await stage()
            except (BpfError, ProgrammingError) as error:
                failures.append(str(error))
        if not failures and self._tables.listed:
            try:
                self._finish()
            except ProgrammingError as error:
                failures.append(str(error))
        failure = "; ".join(failures)
        if failure and failure != self._failure:
            log.error("programming_failed", reason=failure)
        self._failure = failure
        self.failing_since = (self.failing_since or time.monotonic()) if failure else None
        self.upkeep.passed()
        if self._synced and not failure:
            self._stale.applied()
        self._passes += 1
        self._pass_seconds = time.perf_counter() - started
        async with self._applied:
            self._applied.notify_all()

    def _finish(self) -> None:
        """Everything is listed and in the maps."""
        if not self._setup.attached:
            self._setup.attach()
        self._synced = True

    async def _apply_node(self) -> None:
        """The node's own row, and the routes."""
        own = self._tables.nodes.get(self._settings.node_name) or self._need_own()
        host = self._need_host()
        if self._devices_dirty:
            native = await self._in_netlink_thread(lambda: host.native(own))
            await self._take_addresses(host)
            self._devices_dirty = False
            changed = native != self._setup.native
        else:
            changed = _addresses(own) != _addresses(self._need_own())
        if changed:
            log.info("node_changed", addresses=[str(ip) for ip in own.internal_ips + own.router_ips])
            await self._set_up(own)
        await self._routes.apply(own, self._setup.native_mtu, self._on_host)

    async def _take_addresses(self, host: HostDevices) -> None:
        self._tables.own_addresses.replace(await self._in_netlink_thread(host.addresses))

    async def _apply_identities(self) -> None:
        self._identities.apply(self._setup.maps)
        # After: answers to an address find their pod once it is known as the node's.
        masquerade.apply(self._setup.maps, self._need_own(), self._setup.native, self._tables.own_addresses)

    async def _apply_services(self) -> None:
        own = self._tables.nodes.get(self._settings.node_name) or self._need_own()
        self._services.apply(self._setup.maps, lbnode.view(self._settings, own, self._native_addresses()))

    def _native_addresses(self) -> list[IPAddress]:
        """What the native devices have."""
        native = {device.index for device in self._setup.native}
        return [row.address for row in self._tables.own_addresses if row.ifindex in native]

    async def _apply_endpoints(self) -> None:
        await self._endpoints.apply(self._setup, self._need_own(), self._on_host)
        self._identities.apply_new_ranges(self._setup.maps)

    def _device_changed(self) -> None:
        """Perhaps a native one is another now, or has another address."""
        self._devices_dirty = True
        self._wake.set()

    def recheck(self) -> None:
        """Take nothing for granted in the next pass: maps, links, routes and devices are read again."""
        self._setup.maps.read_all()
        self._setup.policy_maps.recheck()
        self._services.reread()
        self._endpoints.recheck()
        self._setup.attached = False
        self._routes.recheck()
        self._devices_dirty = True
        self._wake.set()

    async def _on_host(self, work: Callable[[HostDevices], None]) -> None:
        host = self._need_host()
        await self._in_netlink_thread(lambda: work(host))

    async def _in_netlink_thread(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._netlink_thread, work)
        except NetlinkError as error:
            raise ProgrammingError(f"the kernel refuses a change of devices or routes ({error})") from None

    def _need_host(self) -> HostDevices:
        if self._host is None:
            raise ProgrammingError("the programmer has not been started")
        return self._host

    def _need_own(self) -> Node:
        if self._own is None:
            raise ProgrammingError("the programmer has not been started")
        return self._own


def _addresses(node: Node) -> tuple[Any, ...]:
    """What of a node the programs and devices know."""
    return node.internal_ips, node.router_ips
