"""The plan of a cluster: which nodes, which addresses, and what its namespaces are called.

Pure data, made once from the command line and read by everything else. Every cluster has the same addresses:
each lives in namespaces of its own, so several run at once.
"""

import re
from dataclasses import dataclass

from seta_playground.errors import PlaygroundError

LAN = "192.168.10.0/24"
LAN_ROUTER = "192.168.10.1"
LB_NET = "10.10.200.0/24"  # a second network on the LAN, whose addresses are given to LoadBalancer services
WORLD_NET = "192.168.20.0/24"
WORLD_ROUTER = "192.168.20.1"
WORLD_ADDRESS = "192.168.20.10"
CONTROL_PLANE_ADDRESS = "192.168.10.10"
API_PORT = 6443
SERVICE_CIDR = "10.96.0.0/12"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
PLAIN_POD_CIDR = "10.244.0.0/16"
NODE_INTERFACE = "ens5"
WORLD_INTERFACE = "eth0"
WORLD = "world"
OUTSIDE = (WORLD, "router", "lan")  # places that are no nodes: what passes is seen, and routed, there
MOST_NODES = 100
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")  # no dot: it separates cluster and place


@dataclass(frozen=True)
class Node:
    name: str
    address: str
    index: int  # 0 is the control plane

    @property
    def plain_pod_cidr(self) -> str:
        """The pods of this node where the plain network is used."""
        return f"10.244.{self.index}.0/24"


@dataclass(frozen=True)
class Plan:
    cluster: str
    nodes: tuple[Node, ...]

    @property
    def control_plane(self) -> Node:
        return self.nodes[0]

    def netns(self, place: str) -> str:
        """Name of the network namespace of a node, of `lan`, `router` or `world`."""
        return f"{self.cluster}.{place}"

    def node(self, name: str) -> Node:
        """The node of that name; PlaygroundError names those that there are."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join([*(node.name for node in self.nodes), *OUTSIDE])
        raise PlaygroundError(f"no place named {name!r} in cluster {self.cluster}: there are {known}")


def make(cluster: str, count: int) -> Plan:
    """A plan for `count` nodes: k8s-s (.10), then k8s-w1 (.101), k8s-w2 (.102), ..."""
    if not NAME.fullmatch(cluster):
        raise PlaygroundError(
            f"{cluster!r} is no cluster name: up to 20 of a-z, 0-9 and -, beginning and ending with a letter or digit"
        )
    if not 1 <= count <= MOST_NODES:
        raise PlaygroundError(f"--nodes {count}: a cluster has 1 to {MOST_NODES} nodes")
    workers = (Node(f"k8s-w{i}", f"192.168.10.{100 + i}", i) for i in range(1, count))
    return Plan(cluster, (Node("k8s-s", CONTROL_PLANE_ADDRESS, 0), *workers))
