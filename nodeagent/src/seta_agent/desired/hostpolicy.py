"""What policies for the node itself never shut out by omission.

Called by the policy engine for the node's own traffic. A host policy that forgets the API server, the kubelet or the
way between nodes would end the cluster that it is meant to protect, and with it the way to take the policy back. So
these are allowed as if by one more policy, named "safeguard", wherever a policy denies by default; whoever does want to
stop one of them writes a deny, and deny beats allow as ever. ICMP errors, running connections and ARP are let through
by the datapath (bpf/lib/host.h).
"""

import dataclasses

from seta_agent.desired import policy
from seta_agent.tables import PolicyDirection, PolicyEntry, PortMatch, ReservedIdentity, Tables

SAFEGUARD = "safeguard"  # the policy that events and maps name
NODES, API_SERVERS = "safeguard/nodes", "safeguard/api-servers"  # sets of its own; no SelectorSet is called so
API_SERVER_LABEL = "reserved:kube-apiserver"
API_SERVICE = ("default", "kubernetes")
USUAL_API_PORT = 6443
KUBELET = PortMatch("TCP", 10250)
ETCD = PortMatch("TCP", 2379, 2380)
DHCP_SERVER, DHCP_CLIENT = PortMatch("UDP", 67), PortMatch("UDP", 68)


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """Who is around this node, as far as it must stay reachable."""

    nodes: frozenset[int]  # identities of other nodes
    api_servers: frozenset[int]  # and of API servers elsewhere
    api_ports: tuple[int, ...]
    is_api_server: bool  # this node is one

    @property
    def sets(self) -> policy.Sets:
        return {NODES: self.nodes, API_SERVERS: self.api_servers}


def around(tables: Tables, node_name: str) -> Surroundings:
    own = tables.nodes.get(node_name)
    others = [node for node in tables.nodes if node.name != node_name]
    nodes = {ReservedIdentity.REMOTE_NODE, ReservedIdentity.KUBE_APISERVER, *(node.identity for node in others)} - {0}
    servers = {ReservedIdentity.KUBE_APISERVER, *(node.identity for node in others if node.kube_apiserver)} - {0}
    servers |= {row.id for row in tables.admitted if API_SERVER_LABEL in row.labels}
    service = tables.services.get(API_SERVICE)
    found = {backend.port for port in service.ports for backend in port.backends} if service else set()
    return Surroundings(
        nodes=frozenset(map(int, nodes)),
        api_servers=frozenset(map(int, servers)),
        api_ports=tuple(sorted(found or {USUAL_API_PORT})),
        is_api_server=own is not None and own.kube_apiserver,
    )


def with_safeguards(
    ingress: policy.Rules, egress: policy.Rules, found: Surroundings, tunnel_port: int
) -> tuple[policy.Rules, policy.Rules]:
    """The rules for the node and, where these deny by default, the safeguards."""
    tunnel = PortMatch("UDP", tunnel_port)
    api = [PortMatch("TCP", port) for port in found.api_ports]
    shared = [_allow((NODES, API_SERVERS), KUBELET), _allow((NODES,), tunnel)]
    inwards, outwards = [*shared, _allow(None, DHCP_CLIENT)], [*shared, _allow(None, DHCP_SERVER)]
    outwards.append(_allow((API_SERVERS,), *api))
    if found.is_api_server:
        inwards += [_allow(None, *api), _allow((API_SERVERS,), ETCD)]
        outwards.append(_allow((API_SERVERS,), ETCD))
    return _guarded(ingress, inwards), _guarded(egress, outwards)


def _guarded(rules: policy.Rules, entries: list[PolicyEntry]) -> policy.Rules:
    if not any(direction.default_deny for _, direction in rules):
        return rules
    return [*rules, (SAFEGUARD, PolicyDirection(default_deny=False, entries=tuple(entries)))]


def _allow(peers: tuple[str, ...] | None, *ports: PortMatch) -> PolicyEntry:
    return PolicyEntry(origin=SAFEGUARD, deny=False, peers=peers, ports=ports)
