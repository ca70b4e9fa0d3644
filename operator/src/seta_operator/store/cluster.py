"""All that the operator has seen of the cluster, in one place: a table per kind.

Three doors change it, all here: `seen` and `gone` (called by handlers and sweep with what the watch says, and by the
writer with an object of which it wrote only the status) and `wrote` (called by the writer with what the API server
answered to an object it wrote whole). The services listen for keys that changed.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from seta_crds import names
from seta_crds.names import Kind
from seta_operator.store import facts
from seta_operator.store.table import Key, Table

JSON = dict[str, Any]
Listener = Callable[[Key, Any, Any], None]  # key, value before (or None), value after (or None)

READERS: dict[Kind, Callable[[JSON], Any]] = {  # kind -> what is kept of an object
    names.POD: facts.pod,
    names.NAMESPACE: facts.namespace,
    names.NODE: facts.node,
    names.SERVICE: facts.service,
    names.ENDPOINT_SLICE: facts.endpoint_slice,
    names.NETWORK_POLICY: facts.policy,
    names.CLUSTERWIDE_NETWORK_POLICY: facts.policy,
    names.K8S_NETWORK_POLICY: facts.policy,
    names.CIDR_GROUP: facts.cidr_group,
    names.LOAD_BALANCER_IP_POOL: facts.ip_pool,
    names.NODE_POLICY_STATUS: facts.node_policy_status,
    names.ENDPOINT: facts.endpoint,
    names.IDENTITY: facts.owned,
    names.CILIUM_NODE: facts.owned,
    names.CILIUM_ENDPOINT_SLICE: facts.owned,
    names.SERVICE_TABLE: facts.owned,
    names.COMPILED_POLICY: facts.owned,
    names.SELECTOR_SET: facts.owned,
    names.L2_POLICY: facts.policy,
    names.NODE_ANNOUNCEMENTS: facts.owned,
}
# Read here, but watched by reflector.py: what the operator writes itself, and what a large cluster has thousands of.
BULK = (
    *(kind for kind, read in READERS.items() if read is facts.owned),
    *(names.POD, names.SERVICE, names.ENDPOINT_SLICE, names.ENDPOINT),
)
# Watched there, too, in the operator's own namespace only: leases are renewed all over the cluster.
REFLECTED: dict[Kind, Callable[[JSON], Any]] = {names.LEASE: facts.owned}


class Cluster:
    """The tables, and who listens to which."""

    def __init__(self) -> None:
        self.pods: Table[facts.Pod] = Table()
        self.namespaces: Table[dict[str, str]] = Table()
        self.nodes: Table[facts.Node] = Table()
        self.services: Table[facts.Service] = Table()
        self.endpoint_slices: Table[facts.EndpointSlice] = Table()
        self.endpoints: Table[facts.Endpoint] = Table()
        self.cidr_groups: Table[facts.CIDRGroup] = Table()
        self.ip_pools: Table[facts.IPPool] = Table()
        self.reports: Table[dict[str, int]] = Table()
        self.identities: Table[facts.Owned] = Table()
        self.tables: dict[Kind, Table[Any]] = {  # kind -> its table
            names.POD: self.pods,
            names.NAMESPACE: self.namespaces,
            names.NODE: self.nodes,
            names.SERVICE: self.services,
            names.ENDPOINT_SLICE: self.endpoint_slices,
            names.ENDPOINT: self.endpoints,
            names.CIDR_GROUP: self.cidr_groups,
            names.LOAD_BALANCER_IP_POOL: self.ip_pools,
            names.NODE_POLICY_STATUS: self.reports,
            names.IDENTITY: self.identities,
        }
        for kind in (*READERS, *REFLECTED):
            self.tables.setdefault(kind, Table())
        self._slices: dict[Key, set[Key]] = {}  # service -> its EndpointSlices
        self.listing = asyncio.Event()  # set by handlers when a kind is being listed, cleared by the sweep
        self._listeners: dict[Kind, list[Listener]] = {kind: [] for kind in self.tables}  # kind -> who listens

    def listen(self, kind: Kind, listener: Listener) -> None:
        """Call the listener on each change of the kind, after it is in the table."""
        self._listeners[kind].append(listener)

    def policies(self, kind: Kind) -> Table[facts.Policy]:
        """The table of one kind of policies."""
        return self.tables[kind]

    def owned(self, kind: Kind) -> Table[facts.Owned]:
        """The table of a kind that the operator writes."""
        return self.tables[kind]

    def slices(self, service: Key) -> list[facts.EndpointSlice]:
        """A Service's EndpointSlices, in the order of their names."""
        found = map(self.endpoint_slices.get, sorted(self._slices.get(service, ())))
        return [piece for piece in found if piece is not None]

    def seen(self, kind: Kind, body: JSON) -> None:
        """An object as the watch shows it."""
        key, table = key_of(body), self.tables[kind]
        before = table.get(key)
        if self.wrote(kind, body):
            self._tell(kind, key, before, table.get(key))

    def gone(self, kind: Kind, key: Key, version: int | None = None) -> bool:
        """The watch (or the sweep) says that an object is no more; whether that was news."""
        before = self.tables[kind].get(key)
        removed = self.tables[kind].remove(key, version)
        if removed:
            self._tell(kind, key, before, None)
        return removed

    def wrote(self, kind: Kind, body: JSON) -> bool:
        """An object as the API server answered our own write: nobody needs to be told. Whether it changed."""
        read = READERS.get(kind) or REFLECTED[kind]
        return self.tables[kind].put(key_of(body), version_of(body), read(body))

    def _file_slice(self, key: Key, before: facts.EndpointSlice | None, after: facts.EndpointSlice | None) -> None:
        if before is not None and before.service:
            service = (key[0], before.service)
            self._slices[service].remove(key)
            if not self._slices[service]:
                del self._slices[service]
        if after is not None and after.service:
            self._slices.setdefault((key[0], after.service), set()).add(key)

    def _tell(self, kind: Kind, key: Key, before: Any, after: Any) -> None:
        if kind == names.ENDPOINT_SLICE:
            self._file_slice(key, before, after)
        for listener in self._listeners[kind]:
            listener(key, before, after)


def key_of(body: JSON) -> Key:
    """(namespace, name) of an object."""
    meta = body["metadata"]
    return meta.get("namespace") or "", meta["name"]


def version_of(body: JSON) -> int:
    """Its resourceVersion, which Kubernetes lets us compare within one kind (KEP-5504)."""
    return int(body["metadata"]["resourceVersion"])
