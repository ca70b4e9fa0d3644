"""The two ends of a flow: who they are, and what each looks like from the other.

`find` turns the words of a flow into a party; `see` gives the labels and the address by which a policy at the other end
can select it. What a node looks like depends on who looks: the node that the looker is on, or another one.
"""

import dataclasses
import ipaddress

from tests.policy.reference.cluster import Address, Cluster, Node, Pod
from tests.policy.reference.flows import Settings

Labels = dict[str, str]  # source:key -> value


@dataclasses.dataclass(frozen=True)
class Outside:
    """An address that neither a pod nor a node has."""

    address: Address


@dataclasses.dataclass(frozen=True)
class Reserved:
    """An endpoint of Seta's own or of unknown identity: health, ingress, init, unmanaged."""

    name: str


Party = Pod | Node | Outside | Reserved


@dataclasses.dataclass(frozen=True)
class Seen:
    """One end, as the other end's policies see it.

    cidr_address: the address that CIDR rules may match; None where they do not apply to this end.
    pod: where its named ports are; None where it has none. node_labels: of the Node object; None for whatever is no
    node."""

    labels: Labels
    cidr_address: Address | None
    pod: Pod | None = None
    node_labels: dict[str, str] | None = None

    def has(self, reserved: str) -> bool:
        return f"reserved:{reserved}" in self.labels


def find(cluster: Cluster, word: str) -> Party:
    """The party that a flow names. KeyError for a pod or a node that does not exist."""
    if word.startswith("reserved:"):
        return Reserved(word.removeprefix("reserved:"))
    if word.startswith("node:"):
        return cluster.nodes[word.removeprefix("node:")]
    if "/" in word:
        return _network_namespace(cluster, cluster.pods[word])
    address = ipaddress.ip_address(word)
    return cluster.node_of(address) or cluster.pod_of(address) or Outside(address)


def _network_namespace(cluster: Cluster, pod: Pod) -> Party:
    """A pod on the host's network is the node: policies that select pods do not see it, those for the host do
    [Cilium, layer3: "host" includes all containers in host networking mode; host: "including host-networking pods"]."""
    return cluster.nodes[pod.node] if pod.host_network else pod


def home(party: Party) -> str:
    """The node that a pod runs on, or the node itself; "" for whatever is on none."""
    if isinstance(party, Pod):
        return party.node
    return party.name if isinstance(party, Node) else ""


def see(cluster: Cluster, settings: Settings, looker: Party, other: Party) -> Seen:
    if isinstance(other, Pod):
        # CIDR rules do not apply to what has an identity from labels [Cilium, layer3: IP/CIDR based].
        return Seen(labels=other.labels, cidr_address=None, pod=other)
    if isinstance(other, Node):
        return _see_node(cluster, settings, looker, other)
    if isinstance(other, Reserved):
        return Seen(labels={f"reserved:{other.name}": ""}, cidr_address=None)
    return _see_outside(cluster, other)


def _see_node(cluster: Cluster, settings: Settings, looker: Party, node: Node) -> Seen:
    """`host` is the node that serves the endpoint, every other node is `remote-node`; where the API server runs, the
    node is `kube-apiserver` as well [Cilium, layer3: Entities based]. With policyCIDRMatchMode nodes "every agent
    allocates a distinct identity for all other nodes", so that CIDR rules then select those, and not the local host
    [layer3: Selecting nodes with CIDR / ipBlock]. A node is one identity, whichever of its addresses it uses: CIDRs
    look at its InternalIP (Seta's own)."""
    local = home(looker) == node.name
    labels = {"reserved:host" if local else "reserved:remote-node": ""}
    if any(each.address in node.addresses for each in cluster.api_servers()):
        labels["reserved:kube-apiserver"] = ""
    address = next(iter(node.addresses), None)
    selectable = not local and "nodes" in settings.policy_cidr_match_mode
    return Seen(labels=labels, cidr_address=address if selectable else None, node_labels=node.labels)


def _see_outside(cluster: Cluster, other: Outside) -> Seen:
    """Outside of the cluster is `world`, and what CIDR rules are for; an API server there is `kube-apiserver` too. An
    address of a node's pod network that no pod has is `unmanaged`, which is in the cluster [Cilium, layer3: Entities
    based]; CIDR rules select nothing that is in the cluster [layer3: Selecting nodes with CIDR / ipBlock]."""
    if any(other.address in cidr for node in cluster.nodes.values() for cidr in node.pod_cidrs):
        return Seen(labels={"reserved:unmanaged": ""}, cidr_address=None)
    labels = {"reserved:world": ""}
    if any(each.address == other.address for each in cluster.api_servers()):
        labels["reserved:kube-apiserver"] = ""
    return Seen(labels=labels, cidr_address=other.address)
