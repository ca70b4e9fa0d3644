"""A pod's veth pair: made by the CNI's ADD, removed by its DEL, through `create_pod_veth` and `delete_pod_veth`.

The host end gets no address; eBPF answers the pod's ARP. The pod's end gets its /32 and a default route through the
router, whose address is on no device that the pod sees. Needs CAP_NET_ADMIN, and CAP_SYS_ADMIN for entering the
pod's network namespace (setns).
"""

import concurrent.futures
import ctypes
import hashlib
import ipaddress
import os
from typing import Any

import pyroute2
from pyroute2.netlink.exceptions import NetlinkError

from seta_agent.programmer import sysctls
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.settings import Settings

CLONE_NEWNET = 0x40000000
SCOPE_LINK = 253
EEXIST, ENODEV = 17, 19
_libc = ctypes.CDLL(None, use_errno=True)


def host_ifname(container_id: str) -> str:
    """The host end's name: `lxc` and 12 hex digits, the same for the same container."""
    return "lxc" + hashlib.sha256(container_id.encode()).hexdigest()[:12]


def create_pod_veth(
    netns_fd: int,
    container_id: str,
    ipv4: ipaddress.IPv4Address,
    router: ipaddress.IPv4Address,
    mtu: int,
    *,
    pod_ifname: str = "eth0",
    settings: Settings | None = None,
) -> tuple[str, int, str, str]:
    """Make the pair and set up the pod's end: (host ifname, its ifindex, the pod's MAC, the host end's MAC).

    Blocking (a few milliseconds): call it in a thread. A half-made pair of an earlier try is replaced; nothing is
    left behind on failure (`ProgrammingError`).
    """
    settings = settings or Settings()
    ifname = host_ifname(container_id)
    delete_pod_veth(ifname)
    mac, node_mac = _random_mac(), _random_mac()
    try:
        with pyroute2.IPRoute() as host:
            peer = {"ifname": pod_ifname, "net_ns_fd": netns_fd, "address": mac, "mtu": mtu}
            host.link("add", ifname=ifname, kind="veth", address=node_mac, mtu=mtu, peer=peer)
            ifindex: int = host.link_lookup(ifname=ifname)[0]
            _host_end(settings, host, ifname, ifindex)
        in_netns(netns_fd, _pod_end, settings, pod_ifname, ipv4, router)
    except (NetlinkError, OSError) as error:
        delete_pod_veth(ifname)
        code = error.code if isinstance(error, NetlinkError) else error.errno
        there = f": the pod has an interface {pod_ifname} already" if code == EEXIST else ""
        raise ProgrammingError(f"the pod's veth cannot be made ({error}){there}", retry=code != EEXIST) from None
    return ifname, ifindex, mac, node_mac


def delete_pod_veth(ifname: str) -> None:
    """Remove the pair by its host end; one that is not there is fine. Blocking."""
    with pyroute2.IPRoute() as host:
        for index in host.link_lookup(ifname=ifname):
            try:
                host.link("del", index=index)
            except NetlinkError as error:
                if error.code != ENODEV:
                    raise ProgrammingError(f"{ifname} cannot be removed ({error})") from None


def in_netns(netns_fd: int, function: Any, *arguments: Any) -> Any:
    """Run a function in another network namespace: in a thread that enters it and ends there."""
    with concurrent.futures.ThreadPoolExecutor(1, initializer=_enter, initargs=(netns_fd,)) as thread:
        return thread.submit(function, *arguments).result()


def _enter(netns_fd: int) -> None:
    if _libc.setns(netns_fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "entering the pod's network namespace (setns) needs CAP_SYS_ADMIN")


def _host_end(settings: Settings, host: pyroute2.IPRoute, ifname: str, ifindex: int) -> None:
    sysctls.write_if_there(settings.proc_sys, f"net/ipv6/conf/{ifname}/addr_gen_mode", "1")  # no link-local address
    sysctls.write(settings.proc_sys, f"net/ipv4/conf/{ifname}/rp_filter", "0")
    host.link("set", index=ifindex, state="up")


def _pod_end(settings: Settings, ifname: str, address: ipaddress.IPv4Address, router: ipaddress.IPv4Address) -> None:
    """In the pod's namespace. No IPv6 link-local address: its router solicitations would only be drops to wonder at."""
    sysctls.write_if_there(settings.proc_sys, f"net/ipv6/conf/{ifname}/addr_gen_mode", "1")
    with pyroute2.IPRoute() as pod:
        pod.link("set", index=pod.link_lookup(ifname="lo")[0], state="up")
        index = pod.link_lookup(ifname=ifname)[0]
        pod.addr("replace", index=index, address=str(address), prefixlen=32)
        pod.link("set", index=index, state="up")
        pod.route("replace", dst=f"{router}/32", oif=index, scope=SCOPE_LINK)
        pod.route("replace", dst="0.0.0.0/0", gateway=str(router), oif=index)


def _random_mac() -> str:
    """Locally administered, unicast."""
    raw = bytearray(os.urandom(6))
    raw[0] = raw[0] & 0xFE | 0x02
    return raw.hex(":")
