"""Group, version and names of every resource Seta reads or writes: one table.

Used by the models (which add the schema), by the operator (watches, writes) and by the agent
(watches), which must not pay for pydantic to know that a CiliumNode lives under
/apis/cilium.io/v2/ciliumnodes. So: nothing is imported but the standard library's lightest.
"""

import hashlib
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of Kubernetes resource, as it is named in URLs and manifests."""

    group: str  # "" is the core group
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """What stands in a manifest's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{self.group}"

    def path(self, namespace: str = "", name: str = "") -> str:
        """URL path of the collection (of one namespace, or of all), or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


# Kubernetes' own.
POD = Kind("", "v1", "Pod", "pods", namespaced=True)
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
SERVICE = Kind("", "v1", "Service", "services", namespaced=True)
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", namespaced=True)
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases", namespaced=True)
K8S_NETWORK_POLICY = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", namespaced=True)

# What users know, by the names they know.
NETWORK_POLICY = Kind("cilium.io", "v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies", namespaced=True)
CLUSTERWIDE_NETWORK_POLICY = Kind(
    "cilium.io",
    "v2",
    "CiliumClusterwideNetworkPolicy",
    "ciliumclusterwidenetworkpolicies",
    namespaced=False,
)
LOAD_BALANCER_IP_POOL = Kind(
    "cilium.io", "v2", "CiliumLoadBalancerIPPool", "ciliumloadbalancerippools", namespaced=False
)
L2_POLICY = Kind(
    "cilium.io", "v2alpha1", "CiliumL2AnnouncementPolicy", "ciliuml2announcementpolicies", namespaced=False
)
CIDR_GROUP = Kind("cilium.io", "v2", "CiliumCIDRGroup", "ciliumcidrgroups", namespaced=False)
IDENTITY = Kind("cilium.io", "v2", "CiliumIdentity", "ciliumidentities", namespaced=False)
CILIUM_NODE = Kind("cilium.io", "v2", "CiliumNode", "ciliumnodes", namespaced=False)
ENDPOINT = Kind("cilium.io", "v2", "CiliumEndpoint", "ciliumendpoints", namespaced=True)
CILIUM_ENDPOINT_SLICE = Kind("cilium.io", "v2alpha1", "CiliumEndpointSlice", "ciliumendpointslices", namespaced=False)

# What the operator tells the agents.
SERVICE_TABLE = Kind("seta.dev", "v1alpha1", "ServiceTable", "servicetables", namespaced=True)
COMPILED_POLICY = Kind("seta.dev", "v1alpha1", "CompiledPolicy", "compiledpolicies", namespaced=False)
SELECTOR_SET = Kind("seta.dev", "v1alpha1", "SelectorSet", "selectorsets", namespaced=False)
NODE_ANNOUNCEMENTS = Kind("seta.dev", "v1alpha1", "NodeAnnouncements", "nodeannouncements", namespaced=False)

# What the agents tell the operator.
NODE_POLICY_STATUS = Kind("seta.dev", "v1alpha1", "NodePolicyStatus", "nodepolicystatuses", namespaced=False)

# Annotation on a CiliumIdentity: comma-separated names of the selector sets that matched it when it was made.
SELECTOR_SETS_ANNOTATION = "seta.dev/selector-sets"
# On a node's CiliumIdentity: the node's name. On its CiliumNode: the identity's number, once that is written.
NODE_ANNOTATION = "seta.dev/node"
NODE_IDENTITY_ANNOTATION = "seta.dev/node-identity"
# On a CiliumNode, "true": the API server listens on the node's own address.
KUBE_APISERVER_ANNOTATION = "seta.dev/kube-apiserver"
# On a node's heartbeat Lease, JSON: which generation of which NodeAnnouncements it has put into effect, and which of
# its devices are up: {"uid": "...", "released": 3, "interfaces": {"ens5": true}}.
L2_STATE_ANNOTATION = "seta.dev/l2-state"
LONGEST_NAME = 253  # of an object


def node_lease_name(node: str) -> str:
    """The Lease by which a node's agent says that it lives, and answers for the addresses it was given."""
    name = f"seta-l2-node-{node}"
    return name if len(name) <= LONGEST_NAME else f"seta-l2-node-{hashlib.sha256(node.encode()).hexdigest()}"
