"""The node's own devices, routes and neighbours, through netlink. Called by `node` in its netlink thread only.

Our routes carry a protocol number of their own, and only such routes are corrected or removed: what administrators,
DHCP or other daemons set stays. Blocking; needs CAP_NET_ADMIN.
"""

import dataclasses
import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pyroute2
from pyroute2.netlink.exceptions import NetlinkError

from seta_agent.desired.routes import TUNNEL_DEVICE, TUNNEL_OVERHEAD, Neighbour, Route
from seta_agent.programmer import portrange, sysctls
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.settings import Settings
from seta_agent.tables import IPAddress, Node, OwnAddress

PROTOCOL = 83  # who made the route: `ip route` shows "proto 83"
MAIN_TABLE = 254
SCOPE_LINK, SCOPE_ANY = 253, 255
NUD_PERMANENT = 0x80
IFA_F_SECONDARY = 0x1
IPVS_DEVICE = "kube-ipvs0"
IFF_UP, IFF_NOARP = 0x1, 0x80
MISSING = {2, 3, 19, 99}  # ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL: there is nothing to remove


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    name: str
    index: int
    mtu: int


OnNetlink = Callable[[Callable[["HostDevices"], None]], Awaitable[None]]  # runs it in the netlink thread


class HostDevices:
    """One netlink socket and what it is used for. Make it, use it and close it in one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._netlink = pyroute2.IPRoute()

    def close(self) -> None:
        self._netlink.close()

    def prepare(self, own: Node) -> tuple[list[Device], Device | None]:
        """Sysctls, router address and tunnel device: (the native devices, the tunnel device)."""
        root = self._settings.proc_sys
        sysctls.write(root, "net/ipv4/ip_forward", "1")
        sysctls.write(root, "net/ipv4/conf/all/rp_filter", "0")  # the kernel takes the larger of all's and the device's
        if self._settings.enable_auto_protect_node_port_range:
            portrange.reserve(root, *self._settings.node_port_range)
        native = self.native(own)
        for device in native:
            sysctls.write(root, f"net/ipv4/conf/{device.name}/rp_filter", "0")
        self._router_addresses(own.router_ips)
        return native, self._tunnel(self._settings.mtu or native[0].mtu)

    def native(self, own: Node) -> list[Device]:
        """The devices that lead to other nodes: those configured, else the one with the node's InternalIP."""
        names = list(self._settings.devices)
        if not names:
            wanted = {str(ip) for ip in own.internal_ips}
            found = [a["index"] for a in self._netlink.get_addr() if a.get_attr("IFA_ADDRESS") in wanted]
            links = self._netlink.get_links(*found) if found else []
            names = list(dict.fromkeys(link.get_attr("IFLA_IFNAME") for link in links))
        if not names:
            raise ProgrammingError(
                f"no device has the node's address {', '.join(map(str, own.internal_ips))}: "
                "name the device in Helm value devices"
            )
        return [self._device(name) for name in names]

    def addresses(self) -> dict[IPAddress, OwnAddress]:
        """Every address by which others may know this node, in the kernel's order.

        Not those that count on one link only, nor those that IPVS keeps for other machines' services.
        """
        services = self.index(IPVS_DEVICE)
        rows = (
            OwnAddress(
                ipaddress.ip_address(found.get_attr("IFA_LOCAL") or found.get_attr("IFA_ADDRESS")),
                found["index"],
                secondary=bool(found["flags"] & IFA_F_SECONDARY),
            )
            for found in self._netlink.get_addr()
            if found["scope"] < SCOPE_LINK and found["index"] != services
        )
        return {row.address: row for row in rows}

    def index(self, name: str) -> int:
        """The ifindex, 0 where there is no such device."""
        return next(iter(self._netlink.link_lookup(ifname=name)), 0)

    def sync_routes(self, wanted: Iterable[Route]) -> list[str]:
        """Make our routes exactly these: a sentence for each that could not be set.

        Routes of devices that are not there are left out: their endpoints bring them along.
        """
        want = {key: route for route in wanted if (key := self._key(route))}
        have = self._own_routes()
        for key, (destination, index) in have.items():
            if key not in want:
                self._remove_route(destination, oif=index)
        failed = []
        for key, route in want.items():
            if key not in have:
                try:
                    self.add_route(route)
                except ProgrammingError as error:
                    failed.append(str(error))
        return failed

    def add_route(self, route: Route) -> None:
        """Add or correct one route; `ProgrammingError` where the device is gone or the gateway is not reachable."""
        try:
            self._netlink.route("replace", **self._arguments(route))
        except NetlinkError as error:
            raise ProgrammingError(f"the route to {route.destination} cannot be set ({error})") from None

    def remove_routes(self, routes: Iterable[Route]) -> None:
        for route in routes:
            self._remove_route(str(route.destination))

    def add_neighbour(self, neighbour: Neighbour) -> None:
        index = self.index(neighbour.device)
        if not index:
            raise ProgrammingError(f"there is no device {neighbour.device} for {neighbour.address}")
        fields = {"dst": str(neighbour.address), "ifindex": index, "lladdr": neighbour.mac, "state": NUD_PERMANENT}
        try:
            self._netlink.neigh("replace", **fields)
        except NetlinkError as error:
            raise ProgrammingError(f"the neighbour {neighbour.address} cannot be set ({error})") from None

    def relax_source_check(self, device: str) -> None:
        """rp_filter off for one device: what comes back from a pod need not be routed through its veth."""
        sysctls.write_if_there(self._settings.proc_sys, f"net/ipv4/conf/{device}/rp_filter", "0")

    def _device(self, name: str) -> Device:
        index = self.index(name)
        if not index:
            raise ProgrammingError(f"there is no device {name}: correct Helm value devices")
        return Device(name, index, self._netlink.get_links(index)[0].get_attr("IFLA_MTU"))

    def _router_addresses(self, wanted: Iterable[IPAddress]) -> None:
        """The router's addresses stand on lo, so that the node answers for them and can use them as a source."""
        index = self.index("lo")
        self._netlink.link("set", index=index, state="up")
        for address in wanted:
            prefix = 128 if address.version == 6 else 32
            self._netlink.addr("replace", index=index, address=str(address), prefixlen=prefix, scope=SCOPE_LINK)

    def _tunnel(self, mtu: int) -> Device | None:
        """The VXLAN device: it takes remote and VNI from the packet's metadata, knows no neighbours and learns none."""
        index = self.index(TUNNEL_DEVICE)
        if not self._settings.tunnel:
            if index:
                self._netlink.link("del", index=index)
            return None
        if index and self._tunnel_port(index) != self._settings.tunnel_port:
            self._netlink.link("del", index=index)
            index = 0
        if not index:
            self._create_tunnel()
            index = self.index(TUNNEL_DEVICE)
        root = self._settings.proc_sys
        sysctls.write_if_there(root, f"net/ipv6/conf/{TUNNEL_DEVICE}/addr_gen_mode", "1")
        sysctls.write(root, f"net/ipv4/conf/{TUNNEL_DEVICE}/rp_filter", "0")
        up = IFF_UP | IFF_NOARP
        self._netlink.link("set", index=index, mtu=mtu - TUNNEL_OVERHEAD, flags=up, change=up)
        return self._device(TUNNEL_DEVICE)

    def _create_tunnel(self) -> None:
        try:
            self._netlink.link(
                "add",
                ifname=TUNNEL_DEVICE,
                kind="vxlan",
                vxlan_collect_metadata=True,
                vxlan_learning=False,
                vxlan_port=self._settings.tunnel_port,
            )
        except NetlinkError as error:
            raise ProgrammingError(
                f"the tunnel device {TUNNEL_DEVICE} cannot be made ({error}): is the port {self._settings.tunnel_port} "
                "taken by another VXLAN device, or has the kernel no VXLAN?"
            ) from None

    def _tunnel_port(self, index: int) -> int:
        info = self._netlink.get_links(index)[0].get_attr("IFLA_LINKINFO")
        data = info.get_attr("IFLA_INFO_DATA") if info else None
        return int(data.get_attr("IFLA_VXLAN_PORT") or 0) if data else 0

    def _arguments(self, route: Route) -> dict[str, Any]:
        fields: dict[str, Any] = {"dst": str(route.destination), "proto": PROTOCOL, "table": MAIN_TABLE}
        if route.device:
            fields["oif"] = self.index(route.device)
        fields |= {"gateway": str(route.gateway)} if route.gateway else {"scope": SCOPE_LINK}
        fields |= {"prefsrc": str(route.source)} if route.source else {}
        return fields | ({"metrics": {"mtu": route.mtu}} if route.mtu else {})

    def _key(self, route: Route) -> tuple[Any, ...]:
        """What tells a route from another; empty where its device is not there (yet)."""
        index = self.index(route.device) if route.device else 0
        if route.device and not index:
            return ()
        return (
            str(route.destination),
            index,
            *(str(ip) if ip else "" for ip in (route.gateway, route.source)),
            route.mtu,
        )

    def _own_routes(self) -> dict[tuple[Any, ...], tuple[str, int]]:
        """Our routes in the kernel: key as `_key` makes it -> (destination, ifindex)."""
        found: dict[tuple[Any, ...], tuple[str, int]] = {}
        for raw in self._netlink.get_routes(table=MAIN_TABLE, proto=PROTOCOL):
            if raw["proto"] != PROTOCOL or raw.get_attr("RTA_TABLE") != MAIN_TABLE:
                continue
            default = ipaddress.IPv4Address(0) if raw["family"] == 2 else ipaddress.IPv6Address(0)
            destination = str(ipaddress.ip_network(f"{raw.get_attr('RTA_DST') or default}/{raw['dst_len']}"))
            metrics = raw.get_attr("RTA_METRICS")
            mtu = int(metrics.get_attr("RTAX_MTU") or 0) if metrics else 0
            gateway, index = raw.get_attr("RTA_GATEWAY") or "", raw.get_attr("RTA_OIF") or 0
            key = (destination, 0 if gateway else index, gateway, raw.get_attr("RTA_PREFSRC") or "", mtu)
            found[key] = (destination, index)
        return found

    def _remove_route(self, destination: str, **more: int) -> None:
        fields = {"dst": destination, "proto": PROTOCOL, "table": MAIN_TABLE, "scope": SCOPE_ANY} | more
        try:
            self._netlink.route("del", **fields)
        except NetlinkError as error:
            if error.code not in MISSING:
                raise ProgrammingError(f"the route to {destination} cannot be removed ({error})") from None
