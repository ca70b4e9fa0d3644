"""Two nodes, their pods and a host outside, as network namespaces: real traffic through the attached programs.

    wire: bridge - node1 (192.168.50.1), node2 (.2), outside (.99, no route to pods)
    node1: pods A, B (10.1.1.11, .12)      node2: pod R (10.1.2.21)

Set up as the agent does it: /32 routes to pods, podCIDR routes by tunnel or by node, no address on the veths.
"""

import dataclasses
import pathlib
import socket
import threading
from collections.abc import Callable

from seta_agent.bpf import syscall
from tests.datapath import datapath
from tests.datapath.datapath import EGRESS_OPEN, HOST, HOST_ENDPOINT, INGRESS_OPEN, OPEN, Datapath
from tests.datapath.sandbox import Sandbox

PODS = {"A": ("node", 11, 1001), "B": ("node", 12, 1002), "R": ("node2", 21, 2001)}  # pod -> node, endpoint, identity
ROUTERS = {"node": "router", "node2": "router2"}
CIDRS = {"node": "10.1.1.0/24", "node2": "10.1.2.0/24"}
OUTSIDE = "192.168.50.99"
ATTACH = {"from": syscall.TCX_INGRESS, "to": syscall.TCX_EGRESS}


@dataclasses.dataclass
class Network:
    """Everything by name: "node", "node2", "A", "B", "R", "outside"."""

    places: dict[str, Sandbox]
    datapaths: dict[str, Datapath]
    towards_nodes: tuple[str, int]  # the device that carries pod packets to the other node, and its MTU
    links: list[int] = dataclasses.field(default_factory=list)

    def listen(self, place: str, answer: Callable[[socket.socket], None]) -> int:
        """A TCP server; `answer` gets each connection. Returns its port."""
        server = self.places[place].run(socket.create_server, ("0.0.0.0", 0))
        threading.Thread(target=_accept, args=(server, answer), daemon=True).start()
        return int(server.getsockname()[1])

    def connect(self, place: str, target: str, port: int, timeout: float = 3) -> socket.socket:
        where = OUTSIDE if target == "outside" else datapath.language.address(target)
        return self.places[place].run(socket.create_connection, (where, port), timeout)

    def close(self) -> None:
        for place in self.places.values():
            place.close()


def _accept(server: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    while True:
        with server.accept()[0] as connection:
            answer(connection)


def build(*, tunnel: bool, **config: int) -> Network:
    """`config`: more fields of node_config, on both nodes."""
    places = {name: Sandbox() for name in ("wire", "node", "node2", "outside", *PODS)}
    for place in places.values():
        place.run(_sysctl, "icmp_ratemask", "0")  # what a test refuses is not withheld because another did so, too
    places["wire"].ip("link add br0 type bridge", "link set br0 up")
    for name in ("node", "node2", "outside"):
        _plug(places, name, OUTSIDE if name == "outside" else datapath.language.address(name))
    network = Network(places, {}, ("seta_vxlan", 1450) if tunnel else ("eth0", 1500))
    for node in ROUTERS:
        _node(network, node, tunnel=tunnel, **config)
    return network


def _plug(places: dict[str, Sandbox], name: str, address: str) -> None:
    places["wire"].ip(
        f"link add {name} type veth peer name eth0 netns {places[name].tid}",
        f"link set {name} master br0 up",
    )
    places[name].ip("link set lo up", "link set eth0 up", f"address add {address}/24 dev eth0")


def _node(network: Network, node: str, *, tunnel: bool, **config: int) -> None:
    place, other = network.places[node], next(name for name in ROUTERS if name != node)
    router = datapath.language.address(ROUTERS[node])
    for name, value in {"ip_forward": "1", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0"}.items():
        place.run(_sysctl, name, value)
    place.ip(
        f"address add {router}/32 dev lo",
        "link add seta_vxlan type vxlan external dstport 8472 nolearning",
        "link set seta_vxlan mtu 1450 arp off up",
        f"route add {CIDRS[other]} dev seta_vxlan src {router}"
        if tunnel
        else f"route add {CIDRS[other]} via {datapath.language.address(other)}",
    )
    pods = [pod for pod, (where, _, _) in PODS.items() if where == node]
    for pod in pods:
        _pod(network.places, node, pod, mtu=1450 if tunnel else 1500)
    native = {} if tunnel else {"native_cidr4": 0x0A010000, "native_mask4": 0xFFFF0000}
    own = {"node_ip": {"v4": datapath.address(node)}, "router_ip": {"v4": datapath.address(ROUTERS[node])}}
    loaded = Datapath(place, "node", tunnel=int(tunnel), trace_level=1, **own, **native, **config)
    network.datapaths[node] = loaded
    _fill(loaded, node)
    network.links += place.run(_attach, loaded, pods)


def _sysctl(name: str, value: str) -> None:
    pathlib.Path("/proc/sys/net/ipv4", name).write_text(value, encoding="ascii")


def mistake(place: Sandbox, address: str) -> None:
    """A neighbour that was heard of long ago, and has another MAC by now; asking for it takes tenths of a second."""
    for name, value in {"delay_first_probe_time": "0", "ucast_solicit": "1", "retrans_time_ms": "50"}.items():
        place.run(_sysctl, f"neigh/eth0/{name}", value)
    place.ip(f"neigh replace {address} lladdr 02:00:00:0b:ad:00 dev eth0 nud stale")


def _macs(pod: str) -> tuple[str, str]:
    """Of the pod's end of the veth, and of the node's."""
    return f"02:00:00:01:00:{PODS[pod][1]:02x}", f"02:00:00:02:00:{PODS[pod][1]:02x}"


def _pod(places: dict[str, Sandbox], node: str, pod: str, *, mtu: int) -> None:
    inside, outside = _macs(pod)
    router, address = datapath.language.address(ROUTERS[node]), datapath.language.address(pod)
    places[node].ip(
        f"link add lxc{pod} address {outside} type veth peer name eth0 address {inside} netns {places[pod].tid}",
        f"link set lxc{pod} mtu {mtu} up",
        f"route add {address}/32 dev lxc{pod} scope link src {router}",
        f"neigh add {address} lladdr {inside} dev lxc{pod} nud permanent",
    )
    places[pod].ip(
        "link set lo up",
        f"link set eth0 up mtu {mtu}",
        f"address add {address}/32 dev eth0",
        f"route add {router} dev eth0 scope link",
        f"route add default via {router} dev eth0",
    )


def _fill(loaded: Datapath, node: str) -> None:
    for own in (node, ROUTERS[node]):
        loaded.endpoint(own, flags=HOST)
    for name, router in ROUTERS.items():
        here = None if name == node else name
        loaded.ipcache(name, 1 if name == node else 6)
        loaded.ipcache(router, 1 if name == node else 6, node=here)
        if here:
            loaded.ipcache(CIDRS[name].removesuffix("/24"), 3, prefix=24, node=name)
    for pod, (where, endpoint, identity) in PODS.items():
        loaded.ipcache(pod, identity, node=None if where == node else where)
        if where == node:
            loaded.policy_map(endpoint)
            set_flags(loaded, pod, OPEN)


def set_flags(loaded: Datapath, pod: str, flags: int) -> None:
    """OPEN, or 0: the policy decides, and it is empty."""
    _, endpoint, identity = PODS[pod]
    inside, outside = (datapath.mac(text) for text in _macs(pod))
    ids = {"lxc_id": endpoint, "sec_id": identity, "ifindex": loaded.ifindex[f"lxc{pod}"]}
    loaded.endpoint(pod, flags=flags, mac=inside, node_mac=outside, **ids)


def guard(loaded: Datapath, node: str, *rules: tuple[str, int, int, int]) -> None:
    """The node's own policy: (direction, identity, protocol, port) of what is allowed, 0 for any. The directions that
    are named are enforced; without rules the node is not guarded.
    """
    if HOST_ENDPOINT not in loaded.policies:
        loaded.policy_map(HOST_ENDPOINT)
    flags = OPEN
    datapath.empty(loaded.policies[HOST_ENDPOINT])
    for direction, identity, protocol, port in rules:
        flags &= ~(INGRESS_OPEN if direction == "ingress" else EGRESS_OPEN)
        bits = 40 + (8 if protocol else 0) + (16 if port else 0)
        key = {"prefixlen": bits, "sec_label": identity, "egress": direction == "egress"}
        key |= {"protocol": protocol, "dport": port}
        datapath.put(loaded.policies[HOST_ENDPOINT], key, {"prefixlen": bits})
    for own in (node, ROUTERS[node]):
        loaded.endpoint(own, flags=HOST | flags, lxc_id=HOST_ENDPOINT if rules else 0)


def _attach(loaded: Datapath, pods: list[str]) -> list[int]:
    places: list[tuple[str, str]] = [
        ("netdev", "eth0"),
        ("overlay", "seta_vxlan"),
        *(("container", f"lxc{p}") for p in pods),
    ]
    return [
        syscall.link_create(loaded.objects[f"{way}_{kind}"].program_fd(f"{way}_{kind}"), loaded.ifindex[device], attach)
        for kind, device in places
        for way, attach in ATTACH.items()
    ]
