"""`struct node_config` of this node: what the objects are told before they are loaded. Called by `node`.

Fields that are not named here keep the defaults that the C source gives them.
"""

import base64
import pathlib
import socket
from typing import Any

from seta_agent.desired.encode import ip16
from seta_agent.desired.routes import router_of
from seta_agent.programmer.hostdevices import Device
from seta_agent.settings import Settings
from seta_agent.tables import IPAddress, Node

SO_NETNS_COOKIE = 71
TRACE = {"none": 2, "medium": 1}  # monitor aggregation -> `enum trace_level`: nothing aggregated means all traced
ENOUGH_PORTS = 4096
UNAVOIDABLE = (61000, 65535)  # where everything is taken: the datapath leaves ports of the node's sockets alone


def node_config(settings: Settings, own: Node, native: Device | None, overlay: Device | None) -> dict[str, Any]:
    """Field -> value, as `Object.set_rodata` takes them."""
    range_first, range_last = nat_ports(settings.proc_sys, settings.node_port_range)
    cidr = settings.ipv4_native_routing_cidr  # pods and nodes are known from the ipcache; this is what is beyond
    return {
        "node_ip": _address(next((ip for ip in own.internal_ips if ip.version == 4), None)),
        "node_ip6": _address(next((ip for ip in own.internal_ips if ip.version == 6), None)),
        "router_ip": _address(router_of(own, 4)),
        "router_ip6": _address(router_of(own, 6)),
        "node_netns_cookie": netns_cookie(),
        "native_ifindex": native.index if native else 0,
        "overlay_ifindex": overlay.index if overlay else 0,
        "native_cidr4": int(cidr.network_address) if cidr else 0,
        "native_mask4": int(cidr.netmask) if cidr else 0,
        "nat_port_min": range_first,
        "nat_port_max": range_last,
        "nat_wide_min": after if (after := settings.node_port_range[1] + 1) < range_first else 0,
        "tunnel": int(settings.tunnel),
        "masquerade": int(settings.enable_ipv4_masquerade),
        "host_firewall": int(settings.enable_host_firewall),
        "tunnel_port": settings.tunnel_port,
        "trace_level": TRACE[settings.monitor_aggregation],
    } | _services(settings)


def _services(settings: Settings) -> dict[str, Any]:
    """What services are told: the ports they may take, and how backends are chosen."""
    nodeport_min, nodeport_max = settings.node_port_range
    seed = base64.b64decode(settings.bpf_lb_maglev_hash_seed)
    return {
        "nodeport_min": nodeport_min,
        "nodeport_max": nodeport_max,
        "bind_protection": int(settings.node_port_bind_protection),
        "sock_host_only": int(settings.bpf_lb_sock_hostns_only),
        "no_backend_drop": int(settings.service_no_backend_response == "drop"),
        "maglev_size": settings.bpf_lb_maglev_table_size,
        "maglev_seed": int.from_bytes(seed[:4], "little"),  # the tables themselves come from all of it
    }


def netns_cookie() -> int:
    """What BPF sees as the node's network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")


def nat_ports(proc_sys: pathlib.Path, node_ports: tuple[int, int]) -> tuple[int, int]:
    """Ports for masquerading that neither the node's own connections nor NodePorts use: (first, last).

    Above the node's own range where there are enough, else the largest gap.
    """
    text = (proc_sys / "net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    local_first, local_last = (int(word) for word in text.split())
    if 65535 - local_last >= ENOUGH_PORTS:
        return local_last + 1, 65535
    gaps, start = [], 1024
    for first, last in sorted([(local_first, local_last), node_ports]):
        gaps.append((start, first - 1))
        start = max(start, last + 1)
    first, last = max([*gaps, (start, 65535)], key=lambda gap: gap[1] - gap[0])
    return (first, last) if last - first >= ENOUGH_PORTS else UNAVOIDABLE


def _address(ip: IPAddress | None) -> dict[str, list[int]]:
    return {"bytes": list(ip16(ip))}
