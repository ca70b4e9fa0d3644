"""Where the API server listens: on a node, or outside the cluster. Pure; used by surroundings.py and nodes.py.

It says so itself, in the EndpointSlice of the Service default/kubernetes.
"""

from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key

SLICE: Key = ("default", "kubernetes")


def addresses(cluster: Cluster) -> set[str]:
    """All of its addresses."""
    found = cluster.endpoint_slices.get(SLICE)
    return {address for endpoint in found.endpoints for address in endpoint.addresses} if found else set()


def on_node(cluster: Cluster, node: facts.Node) -> bool:
    """Whether it listens on the node's own address."""
    return not addresses(cluster).isdisjoint(node.addresses)


def outside(cluster: Cluster) -> set[str]:
    """Those of its addresses that are no node's."""
    found = addresses(cluster)
    return found and found.difference(*(node.addresses for _, node in cluster.nodes.items()))
