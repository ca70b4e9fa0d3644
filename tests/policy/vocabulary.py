"""The small world that generated situations speak about: few names, so that what is drawn meets.

Used by the parts of `generate`. The simplest word of every list is first: that is what hypothesis shrinks to. Policies
are drawn from this vocabulary and not from a cluster, so that both shrink apart.
"""

import functools
import ipaddress

NAMESPACES = ("a", "b", "c")
OFTEN_THE_FIRST = ("a", "a", "a", "b", "a", "a", "c")  # so that pods, services and policies meet
NAMESPACE_LABELS = {"team": ("x", "y"), "env": ("prod", "test")}
NODES = ("n1", "n2", "n3")
NODE_LABELS = {"pool": ("fast", "slow"), "zone": ("z1",)}
POD_LABELS = {"app": ("web", "db"), "role": ("front", "back")}
INVISIBLE = ("pod-template-hash", "h1")  # a label that is no part of an identity
SERVICE_ACCOUNTS = ("default", "robot")
SERVICES = ("s1", "s2")
SERVICE_LABELS = {"tier": ("inner", "outer")}
GROUPS = ("g1", "g2")
GROUP_LABELS = {"trust": ("own", "other")}

PORT_NAMES = ("http", "dns", "sql")
# Ports that ranges begin and end with, and what flows knock at: they, and their neighbours.
EDGES = (80, 53, 443, 8080, 1, 65535)
RANGES = ((80, 443), (53, 53), (79, 81), (1, 80), (443, 65535), (1, 65535), (1024, 8080), (8081, 9000))
PORTS = tuple(dict.fromkeys(port for edge in EDGES for port in (edge, edge - 1, edge + 1) if 1 <= port <= 65535))
MANAGEMENT = (("TCP", 6443), ("TCP", 10250), ("UDP", 8472), ("TCP", 2379), ("UDP", 68))

ENTITIES = (
    "world", "all", "cluster", "host", "remote-node", "kube-apiserver", "none", "unmanaged", "health", "ingress",
    "init",
)  # fmt: skip
ICMP_TYPES = {"IPv4": (8, "EchoRequest", "0", "TimeExceeded", 3, 255), "IPv6": (128, "EchoRequest", "PacketTooBig", 1)}

BEYOND: tuple[dict[str, object], ...] = (
    {"rules": {"http": [{"method": "GET"}]}},
    {"rules": {}},
    {"serverNames": ["x.org"]},
    {"serverNames": []},
)

# CIDRs that lie in each other, beside each other, and over the addresses of nodes and pods.
CIDRS = (
    "192.0.2.0/24", "192.0.2.0/25", "192.0.2.128/25", "192.0.2.64/26", "192.0.2.77/32", "198.51.100.0/24",
    "0.0.0.0/0", "192.0.0.0/8", "192.168.10.0/24", "10.0.0.0/8", "10.0.1.0/24", "2001:db8::/32", "::/0",
)  # fmt: skip
NODE_NETWORK, POD_NETWORK = "192.168.10.", "10.0."
EXTERNAL_API_SERVER = "192.0.2.200"


def node_address(index: int) -> str:
    return f"{NODE_NETWORK}{index + 10}"


def pod_cidr(index: int) -> str:
    return f"{POD_NETWORK}{index + 1}.0/24"


def router_address(index: int) -> str:
    return f"{POD_NETWORK}{index + 1}.1"


def pod_address(node: int, pod: int) -> str:
    return f"{POD_NETWORK}{node + 1}.{pod + 10}"


def unmanaged_address(node: int) -> str:
    """An address of the node's pod network that no pod has."""
    return f"{POD_NETWORK}{node + 1}.200"


@functools.cache
def inside(cidr: str) -> tuple[str, ...]:
    """The CIDRs of the vocabulary that are a part of this one."""
    outer = ipaddress.ip_network(cidr)
    networks = [(other, ipaddress.ip_network(other)) for other in CIDRS if other != cidr]
    return tuple(
        other
        for other, network in networks
        if network.version == outer.version and network.network_address in outer and network.prefixlen > outer.prefixlen
    )


@functools.cache
def edges_of(cidr: str) -> tuple[str, ...]:
    """The addresses just inside and just outside of a CIDR; those that are in the world, or a node's."""
    network = ipaddress.ip_network(cidr, strict=False)
    ends = [network.network_address, network.broadcast_address]
    outside = [ends[0] - 1, ends[1] + 1] if network.prefixlen else []
    return tuple(str(address) for address in ends + outside if _routable(str(address)))


def _routable(address: str) -> bool:
    within = ipaddress.ip_address(address)
    pods = [ipaddress.ip_network(pod_cidr(index)) for index in range(len(NODES))]
    return (
        address not in ("0.0.0.0", "255.255.255.255") and within.version == 4 and not any(within in net for net in pods)
    )


WORLD = tuple(dict.fromkeys(["192.0.2.77", "198.51.100.9", *(edge for cidr in CIDRS for edge in edges_of(cidr))]))
