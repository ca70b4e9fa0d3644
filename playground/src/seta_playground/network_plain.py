"""`--network plain`: the same cluster without Seta, the measure for benchmarks and for failing tests.

Debian's ptp and host-local plugins, static routes between the nodes, and the real kube-proxy as a service of each
node. Called by network.py. Each node's pods have a fixed range, so that the routes are known beforehand.
"""

import json
import subprocess
from typing import Any

from seta_playground import binaries, plan
from seta_playground.errors import PlaygroundError
from seta_playground.node_spec import Service

PLUGINS = ("loopback", "ptp", "host-local", "portmap")
CONFLIST = "/etc/cni/net.d/10-plain.conflist"
MASQUERADE = f"""\
table ip playground {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip daddr {{ {plan.PLAIN_POD_CIDR}, {plan.LAN} }} return
    ip saddr {plan.PLAIN_POD_CIDR} oifname {plan.NODE_INTERFACE} masquerade
  }}
}}
"""


def services(node: plan.Node, programs: binaries.Binaries, mode: str) -> list[Service]:
    argv = [
        str(programs.path("kube-proxy")),
        "--kubeconfig=/etc/kubernetes/kube-proxy.conf",
        f"--proxy-mode={mode}",
        f"--cluster-cidr={plan.PLAIN_POD_CIDR}",
        f"--hostname-override={node.name}",
        # Sizes of the connection table belong to the machine, and cannot be set from a node's namespace.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]
    return [Service("kube-proxy", argv, after=f"{plan.CONTROL_PLANE_ADDRESS}:{plan.API_PORT}")]


def files(node: plan.Node) -> dict[str, str]:
    """Path on the node -> content: the CNI configuration, there from the start."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": node.plain_pod_cidr}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni",
    }
    ptp: dict[str, Any] = {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": ipam}
    portmap: dict[str, Any] = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {CONFLIST: json.dumps({"cniVersion": "0.4.0", "name": "plain", "plugins": [ptp, portmap]})}


def connect(cluster: plan.Plan) -> None:
    """Routes to every other node's pods, and masquerading of what leaves for the world."""
    for node in cluster.nodes:
        netns = cluster.netns(node.name)
        others = [other for other in cluster.nodes if other != node]
        routes = "\n".join(f"route add {other.plain_pod_cidr} via {other.address}" for other in others)
        _run(["ip", "-n", netns, "-batch", "-"], routes)
        _run(["ip", "netns", "exec", netns, "nft", "-f", "-"], MASQUERADE)


def _run(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PlaygroundError(f"the plain network could not be made: {done.stderr.strip()}")
