"""Nodes: each Node gets a CiliumNode with its addresses and a pod CIDR of its own.

A pod CIDR stays with its node until the Node is gone; after a restart it is read back from the CiliumNodes,
which are this service's only memory. Annotations say how policies may know the node: as the API server's, and by an
identity of its own.
"""

import structlog

from seta_crds import names
from seta_operator.services import addresses, apiserver
from seta_operator.services.nodeidentities import NodeIdentities
from seta_operator.services.subject import Subject
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

ZONE_LABEL = "topology.kubernetes.io/zone"
log = structlog.get_logger()


class Nodes(Subject[str]):
    """Marked with names of nodes."""

    name = "nodes"

    def __init__(
        self, cluster: Cluster, writer: Writer, pod_cidrs: addresses.PodCIDRs, identities: NodeIdentities
    ) -> None:
        super().__init__()
        self._cluster, self._writer, self._pod_cidrs, self._identities = cluster, writer, pod_cidrs, identities
        self._without: set[str] = set()  # nodes that got no pod CIDR, to be tried when one is released
        cluster.listen(names.NODE, lambda key, _before, _after: self.mark(key[1]))
        cluster.listen(names.CILIUM_NODE, lambda key, _before, _after: self.mark(key[1]))
        cluster.listen(names.ENDPOINT_SLICE, self._slice_changed)
        identities.listen(self.mark)

    def start(self) -> None:
        """Claim what the CiliumNodes of living Nodes say, then look at every node."""
        written = self._cluster.owned(names.CILIUM_NODE)
        for (_, name), held in sorted(written.items()):
            cidrs = held.content.get("spec", {}).get("ipam", {}).get("podCIDRs") or []
            if ("", name) in self._cluster.nodes and cidrs and not self._pod_cidrs.claim(name, cidrs[0]):
                log.warning("node.cidr_refused", node=name, cidr=cidrs[0])
        for _, name in self._cluster.nodes.known() | written.known():
            self.mark(name)

    async def apply(self, keys: set[str]) -> set[str]:
        """Write the CiliumNodes of these names, and remove those without a Node."""
        released = [name for name in keys if self._node(name) is None and self._pod_cidrs.release(name)]
        if released:
            keys |= self._without
        wanted: dict[Key, facts.JSON | None] = {}
        problems: dict[str, str] = {}  # node -> why it has no pod CIDR
        for name in sorted(keys):
            wanted["", name], problems[name] = self._decide(name)
        failed = {name for _, name in await self._writer.ensure(names.CILIUM_NODE, wanted)}
        for name in keys - failed:
            if not await self._tell(name, problems[name]):
                failed.add(name)
        return failed

    def _slice_changed(self, key: Key, _before: object, _after: object) -> None:
        if key == apiserver.SLICE:  # it may be on another node now
            for _, name in self._cluster.nodes.known():
                self.mark(name)

    def _node(self, name: str) -> facts.Node | None:
        return self._cluster.nodes.get(("", name))

    def _decide(self, name: str) -> tuple[facts.JSON | None, str]:
        """The wanted CiliumNode, and why it has no pod CIDR (or nothing)."""
        node, problem = self._node(name), ""
        self._without.discard(name)
        if node is None:
            return None, problem
        known = [{"type": "InternalIP", "ip": address} for address in node.addresses]
        cidrs: list[str] = []
        try:
            network = self._pod_cidrs.give(name)
            known.append({"type": "CiliumInternalIP", "ip": addresses.router(network)})
            cidrs.append(str(network))
        except addresses.PoolExhaustedError as error:
            problem = str(error)
            self._without.add(name)
            log.warning("node.without_cidr", node=name, error=problem)
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node.uid}
        spec = {"addresses": known, "ipam": {"podCIDRs": cidrs}}
        metadata: facts.JSON = {"ownerReferences": [owner]}
        if zone := node.labels.get(ZONE_LABEL):
            metadata["labels"] = {ZONE_LABEL: zone}  # for agents, which do not watch Nodes
        if annotations := self._annotations(name, node):
            metadata["annotations"] = annotations
        return {"metadata": metadata, "spec": spec}, problem

    def _annotations(self, name: str, node: facts.Node) -> dict[str, str]:
        """By which identity agents know the node."""
        found: dict[str, str] = {}
        if apiserver.on_node(self._cluster, node):
            found[names.KUBE_APISERVER_ANNOTATION] = "true"
        if number := self._identities.number(name):
            found[names.NODE_IDENTITY_ANNOTATION] = str(number)
        return found

    async def _tell(self, name: str, problem: str) -> bool:
        """Write the problem, or that there is none any more, into the CiliumNode's status."""
        held = self._cluster.owned(names.CILIUM_NODE).get(("", name))
        if held is None or held.error == problem:
            return True
        status = {"ipam": {"operator-status": {"error": problem or None}}}
        return await self._writer.status(names.CILIUM_NODE, ("", name), status)
