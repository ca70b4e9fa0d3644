"""The stage that keeps cilium_ipcache_v2, and this node's own addresses in cilium_lxc. Called by `node`.

Three sources claim addresses: endpoints of this node, nodes, endpoint slices. The first owner in this order counts,
so a slice that lags behind never overrides what is known here.
"""

from collections.abc import Callable

from seta_agent.desired import endpoints, ipcache
from seta_agent.desired.encode import Entries
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.tables import IPAddress, Tables

IPCACHE, LXC = "cilium_ipcache_v2", "cilium_lxc"


class IdentityStage:
    """Dirty are the owners changed since the last pass: ("0-endpoint", id), ("1-node", name), ("2-slice", name)."""

    def __init__(self, tables: Tables, node_name: str, wake: Callable[[], None]) -> None:
        self._tables = tables
        self._node_name = node_name
        self._wake = wake
        self._dirty: set[tuple[str, str]] = set()
        self._own_addresses: frozenset[IPAddress] = frozenset()
        tables.endpoints.subscribe(lambda number: self._changed("0-endpoint", str(number)), wake)
        tables.nodes.subscribe(lambda name: self._changed("1-node", name), wake)
        tables.remote_pods.subscribe(lambda name: self._changed("2-slice", name), wake)

    def _changed(self, source: str, name: str) -> None:
        self._dirty.add((source, name))
        self._wake()

    def recheck(self) -> None:
        """Look at every source again."""
        self._own_addresses = frozenset()
        tables = self._tables
        self._dirty |= {("0-endpoint", str(row.id)) for row in tables.endpoints}
        self._dirty |= {("1-node", row.name) for row in tables.nodes}
        self._dirty |= {("2-slice", name) for name in tables.remote_pods.keys()}  # noqa: SIM118 (a table, no mapping)

    def apply(self, maps: KernelMaps) -> int:
        """Bring the kernel up to date: how many entries changed."""
        dirty, self._dirty = self._dirty, set()
        if ("1-node", self._node_name) in dirty:
            dirty |= self._take_own_addresses(maps)
        reconciler = maps.reconciler(IPCACHE)
        layout = maps.layout(IPCACHE)
        for source, name in dirty:
            reconciler.set((source, name), self._entries(source, name, layout))
        tables = self._tables
        if tables.endpoints.synced and tables.nodes.synced and tables.remote_pods.synced:
            reconciler.complete()
        return reconciler.apply() if reconciler.pending else 0

    def _take_own_addresses(self, maps: KernelMaps) -> set[tuple[str, str]]:
        """The node's own addresses; when they change every slice says something else about where pods live."""
        own = self._tables.nodes.get(self._node_name)
        entries = endpoints.of_node(own, *maps.layout(LXC)) if own else {}
        maps.reconciler(LXC).set(("0-node", ""), entries)
        addresses = frozenset(own.internal_ips if own else ())
        if addresses == self._own_addresses:
            return set()
        self._own_addresses = addresses
        return {("2-slice", name) for name in self._tables.remote_pods.keys()}  # noqa: SIM118 (a table, no mapping)

    def _entries(self, source: str, name: str, layout: ipcache.Layout) -> Entries:
        key, value = layout
        if source == "0-endpoint":
            endpoint = self._tables.endpoints.get(int(name))
            return ipcache.of_endpoint(endpoint, key, value) if endpoint else {}
        if source == "1-node":
            node = self._tables.nodes.get(name)
            return ipcache.of_node(node, own=name == self._node_name, key=key, value=value) if node else {}
        pods = self._tables.remote_pods.get(name)
        return ipcache.of_slice(pods, self._own_addresses, key, value) if pods else {}
