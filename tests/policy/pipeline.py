"""A situation through everything of ours that decides about a packet, up to the bytes in the kernel's maps.

The operator's compiler and sets (`operatorside`), its objects through the agent's readers into the agent's tables, from
there flattened and encoded, and what is then in the maps asked by the model of the datapath's lookup (`lookup`), which
tests/datapath/policy keeps honest. `comparison` holds this against the reference evaluator.
"""

import dataclasses
import ipaddress
import typing

import numpy as np

from seta_agent.api import questions
from seta_agent.api.explain import Explainer
from seta_agent.bpf import btf
from seta_agent.desired import encode, ipcache, policymap
from seta_agent.programmer.endpointpolicy import EndpointPolicy, PolicyEngine
from seta_agent.tables import Endpoint, IPAddress, IPNetwork, Node, Pod, RemotePod, Tables
from seta_agent.watch import cluster as read_cluster
from seta_agent.watch import pods as read_pods
from seta_agent.watch import policies as read_policies
from seta_crds import labels
from tests.policy import lookup
from tests.policy.operatorside import OperatorSide
from tests.policy.reference.flows import Decision, Flow, Manifest, Reason, Settings, Verdict

RESERVED = {"unmanaged": 3, "health": 4, "init": 5, "ingress": 8}  # parties that have no address here
ALLOWED = Decision(allowed=True, reason=Reason.ALLOWED)
DENIED = Decision(allowed=False, reason=Reason.DENIED)
UNKNOWN_IP = ipaddress.IPv4Address("0.0.0.0")


@dataclasses.dataclass(frozen=True)
class End:
    """One end of a flow. node: where it is; "" = outside. pod: None = the node itself, or nobody of ours."""

    address: IPAddress | None
    node: str = ""
    pod: tuple[str, str] | None = None
    identity: int = 0  # where it has no address

    @property
    def party(self) -> tuple[str, tuple[str, str] | None, IPAddress | None]:
        return (self.node, self.pod, None) if self.node else ("", None, self.address)


class Pipeline:
    """One situation, programmed. Flows are asked with `verdict`."""

    def __init__(self, objects: list[Manifest], policies: list[Manifest], settings: Settings) -> None:
        self._operator = OperatorSide(objects, policies, settings)
        self._tables = Tables()
        self._pods: dict[tuple[str, str], tuple[Pod | None, Manifest]] = {}  # (namespace, name) -> row, manifest
        self._fill(objects)
        mode = settings.policy_enforcement_mode
        self._engines = {
            node.name: PolicyEngine(self._tables, mode, node.name, lambda: None) for node in self._tables.nodes
        }
        for engine in self._engines.values():
            engine.concerned()
        self._fill_pods()
        self._maps: dict[tuple[str, tuple[str, str] | None], tuple[EndpointPolicy, list[lookup.Entry]]] = {}
        self._caches: dict[str, list[tuple[IPNetwork, int]]] = {}  # node -> its IP cache

    def verdict(self, flow: Flow) -> Verdict:
        source, destination = (self._end(word, flow.node_address) for word in (flow.source, flow.destination))
        if source.party == destination.party:  # never leaves the endpoint
            return Verdict(egress=ALLOWED, ingress=ALLOWED)
        if source.node and source.node == destination.node and source.pod is None:
            # On a node's way to its own pods the programs look nothing up (tests/datapath/test_policy.py).
            return Verdict(egress=ALLOWED, ingress=ALLOWED)
        return Verdict(
            egress=self._decide(source, destination, flow, egress=True),
            ingress=self._decide(destination, source, flow, egress=False),
        )

    def explain(self, flow: Flow) -> dict[str, typing.Any]:
        """As `seta policy explain` does, asked at the destination's node."""
        ends = [self._end(word, flow.node_address) for word in (flow.source, flow.destination)]
        words = ["/".join(end.pod) if end.pod else str(end.address) for end in ends]
        engine = self._engines[ends[1].node or ends[0].node]
        question = questions.Question(flow.protocol.upper(), str(flow.port))
        return Explainer(self._tables, engine, host_policies=True).explain(*words, question)

    # From manifests to tables.

    def _fill(self, objects: list[Manifest]) -> None:
        tables, operator = self._tables, self._operator
        for item in operator.compiled_policies:
            tables.policies.set(item["metadata"]["name"], read_policies.policy(item))
        for item in operator.selector_sets:
            tables.selector_sets.set(item["metadata"]["name"], read_policies.selector_set(item))
        for item in operator.identities:
            row = read_cluster.identity(item)
            tables.identities.set(row.id, row)
            if row.id > labels.MAX_IDENTITY:
                tables.admitted.set(row.id, row)
        for item in objects:
            if item["kind"] == "Node":
                self._fill_node(item, objects)
            elif item["kind"] == "Pod":
                metadata = {"uid": item["metadata"]["name"], **item["metadata"]}
                key = (metadata.get("namespace") or "default", metadata["name"])
                self._pods[key] = read_pods.pod({**item, "metadata": metadata}), item
        for table in (tables.policies, tables.selector_sets, tables.identities, tables.nodes):
            table.synced = True

    def _fill_pods(self) -> None:
        """As every node knows them from the slices."""
        nodes = {node.name: node.internal_ips[0] for node in self._tables.nodes}
        for key, (row, item) in self._pods.items():
            address = (item.get("status") or {}).get("podIP")
            node_ip = nodes.get(item["spec"].get("nodeName") or "")
            if row is not None and address and node_ip is not None:
                addresses = (ipaddress.ip_address(address),)
                pod = RemotePod(*key, self._operator.pod_number(key), addresses, node_ip, row.named_ports)
                self._tables.remote_pods.set("/".join(key), (pod,))

    def _fill_node(self, item: Manifest, objects: list[Manifest]) -> None:
        """The CiliumNode as the operator would write it: what the situation gives it, with what Node says."""
        name = item["metadata"]["name"]
        given = next((one for one in objects if (one["kind"], one["metadata"]["name"]) == ("CiliumNode", name)), {})
        spec = given.get("spec") or {}
        addresses = [
            {"type": one["type"], "ip": one["address"]} for one in (item.get("status") or {}).get("addresses") or []
        ]
        addresses += [one for one in spec.get("addresses") or [] if one not in addresses]
        metadata = {"name": name, "annotations": self._operator.annotations(name)}
        ipam = spec.get("ipam") or {"podCIDRs": (item.get("spec") or {}).get("podCIDRs") or []}
        row = read_cluster.node({"metadata": metadata, "spec": {"addresses": addresses, "ipam": ipam}})
        self._tables.nodes.set(name, row)

    # Who is who.

    def _end(self, word: str, node_address: str) -> End:
        if word.startswith("reserved:"):
            return End(None, identity=RESERVED[word.removeprefix("reserved:")])
        if word.startswith("node:"):
            return self._node_end(word.removeprefix("node:"), node_address)
        if "/" in word:
            namespace, _, name = word.partition("/")
            return self._pod_end((namespace, name), node_address)
        address = ipaddress.ip_address(word)
        for node in self._tables.nodes:
            if address in (*node.internal_ips, *node.router_ips):
                return self._node_end(node.name, word)
        for key, (row, item) in self._pods.items():
            if row is not None and (item.get("status") or {}).get("podIP") == word:
                return self._pod_end(key, node_address)
        return End(address)

    def _pod_end(self, key: tuple[str, str], node_address: str) -> End:
        row, item = self._pods[key]
        node = item["spec"].get("nodeName") or ""
        if row is None:  # on the node's network
            return self._node_end(node, node_address)
        address = (item.get("status") or {}).get("podIP")
        return End(ipaddress.ip_address(address) if address else None, node, key)

    def _node_end(self, name: str, node_address: str) -> End:
        """`node_address` may be the other end's."""
        node = self._node(name)
        used = [address for address in (*node.internal_ips, *node.router_ips) if str(address) == node_address]
        return End((used or node.internal_ips)[0], name)

    def _node(self, name: str) -> Node:
        node = self._tables.nodes.get(name)
        assert node is not None
        return node

    # What the kernel would say.

    def _decide(self, subject: End, peer: End, flow: Flow, *, egress: bool) -> Decision:
        if not subject.node:
            return ALLOWED  # nobody enforces anything there
        result, entries = self._map(subject)
        if not result.by_egress[egress].enforced:
            return ALLOWED
        identity = peer.identity or self._identity(subject.node, peer)
        protocol, port = lookup.PROTOCOLS[flow.protocol], lookup.port_of(flow.protocol, flow.port)
        return ALLOWED if lookup.allows(entries, identity, protocol, port, egress=egress) else DENIED

    def _map(self, subject: End) -> tuple[EndpointPolicy, list[lookup.Entry]]:
        """The policy map of a pod, or of a node."""
        key = (subject.node, subject.pod)
        if key not in self._maps:
            engine = self._engines[subject.node]
            result = engine.host() if subject.pod is None else engine.of(self._endpoint(subject))
            encoded = policymap.encode(result.by_egress, policymap.Cookies(), *lookup.layouts())
            self._maps[key] = result, lookup.read(encoded)
        return self._maps[key]

    def _endpoint(self, end: End) -> Endpoint:
        assert end.pod is not None
        row = self._pods[end.pod][0]
        assert row is not None
        return Endpoint(
            id=1,
            namespace=end.pod[0],
            pod=end.pod[1],
            pod_uid=row.uid,
            container_id="",
            ifname="",
            ifindex=1,
            mac="",
            node_mac="",
            ipv4=typing.cast("ipaddress.IPv4Address", end.address or UNKNOWN_IP),
            identity=self._operator.pod_number(end.pod),
            named_ports=row.named_ports,
        )

    def _identity(self, looker: str, peer: End) -> int:
        """What the IP cache of a node says about an address: the longest prefix, and the world where there is none."""
        if peer.pod is not None:
            return self._operator.pod_number(peer.pod)
        assert peer.address is not None
        if looker not in self._caches:
            self._caches[looker] = self._cache(looker)
        found = [(prefix, number) for prefix, number in self._caches[looker] if peer.address in prefix]
        return max(found, key=lambda one: one[0].prefixlen)[1] if found else 2

    def _cache(self, looker: str) -> list[tuple[IPNetwork, int]]:
        """Programmed ranges and nodes; pods are known by themselves."""
        key, value = _layouts()
        encoded: dict[bytes, bytes] = {}
        admitted = {row.id for row in self._tables.admitted}
        cidrs = {cidr for node in self._tables.nodes for cidr in node.pod_cidrs}
        for identity in self._tables.admitted:
            encoded |= ipcache.of_range(identity, cidrs, key, value)
        for node in self._tables.nodes:
            if node.name == looker:
                encoded |= ipcache.of_own(self._tables.ips_of_own(node), key, value)
            else:
                encoded |= ipcache.of_node(node, admitted, key, value)
        return [(_prefix(one, key), int(np.frombuffer(two, value)[0]["sec_identity"])) for one, two in encoded.items()]


def _layouts() -> tuple[encode.Dtype, encode.Dtype]:
    types = btf.Btf(lookup.OBJECT)
    return types.dtype("ipcache_key"), types.dtype("remote_endpoint_info")


def _prefix(raw: bytes, key: encode.Dtype) -> IPNetwork:
    found = np.frombuffer(raw, key)[0]
    address = encode.ip_of(found["ip"].tobytes(), int(found["family"]))
    return ipaddress.ip_network((address, int(found["prefixlen"]) - ipcache.STATIC_BITS))
