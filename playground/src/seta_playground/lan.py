"""The network that a cluster's nodes stand in, wholly in namespaces: a LAN, a router, and the world behind it.

    k8s-s .10   k8s-w1 .101   k8s-w2 .102            world 192.168.20.10
       |ens5       |ens5         |ens5                  |eth0
       +-----------+-------------+------ bridge ------ router
               192.168.10.0/24  (namespace lan)   .10.1     .20.1

The router asks the LAN for LoadBalancer addresses (10.10.200.0/24), as it would on a LAN where they were set aside:
nobody has them until a node announces them.

Links are made inside the namespaces, so the machine's own network never sees any of them. The router knows no
pod networks: as on a real LAN, only the nodes do. Called by up.py; cleanup.py removes the namespaces by name.
"""

import subprocess

from seta_playground import plan
from seta_playground.errors import PlaygroundError


def create(cluster: plan.Plan) -> None:
    """Make all namespaces and links."""
    places = [*plan.OUTSIDE, *(node.name for node in cluster.nodes)]
    _ip([f"netns add {cluster.netns(place)}" for place in places])
    for place, commands in script(cluster):
        _ip(commands, cluster.netns(place))
    for place in ("router", *(node.name for node in cluster.nodes)):
        enable_forwarding(cluster.netns(place))


def script(cluster: plan.Plan) -> list[tuple[str, list[str]]]:
    """(place, its commands for ip(8)), in the order in which they must run."""
    lan = cluster.netns("lan")
    router = [
        f"link add lan0 type veth peer name router netns {lan}",
        f"link add world0 type veth peer name {plan.WORLD_INTERFACE} netns {cluster.netns(plan.WORLD)}",
        f"address add {plan.LAN_ROUTER}/24 dev lan0",
        f"address add {plan.WORLD_ROUTER}/24 dev world0",
        *(f"link set {link} up" for link in ("lo", "lan0", "world0")),
        f"route add {plan.LB_NET} dev lan0",
    ]
    world = [
        f"address add {plan.WORLD_ADDRESS}/24 dev {plan.WORLD_INTERFACE}",
        "link set lo up",
        f"link set {plan.WORLD_INTERFACE} up",
        f"route add default via {plan.WORLD_ROUTER}",
    ]
    ports = ["router", *(node.name for node in cluster.nodes)]
    bridge = ["link add br0 type bridge", "link set br0 up"]
    bridge += [f"link set {port} master br0 up" for port in ports]
    nodes = [(node.name, _node(node, lan)) for node in cluster.nodes]
    return [("router", router), (plan.WORLD, world), *nodes, ("lan", bridge)]


def _node(node: plan.Node, lan: str) -> list[str]:
    return [
        f"link add {plan.NODE_INTERFACE} type veth peer name {node.name} netns {lan}",
        f"address add {node.address}/24 dev {plan.NODE_INTERFACE}",
        "link set lo up",
        f"link set {plan.NODE_INTERFACE} up",
        f"route add default via {plan.LAN_ROUTER}",
    ]


def enable_forwarding(netns: str) -> None:
    """A router routes, and so does a Kubernetes node."""
    files = "/proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
    command = ["sh", "-c", f"for file in {files}; do echo 1 >$file; done"]
    subprocess.run(["ip", "netns", "exec", netns, *command], check=True, capture_output=True)


def _ip(commands: list[str], netns: str = "") -> None:
    inside = ["-n", netns] if netns else []
    done = subprocess.run(
        ["ip", *inside, "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PlaygroundError(f"the LAN could not be made: ip said {done.stderr.strip()!r} to {commands}")
