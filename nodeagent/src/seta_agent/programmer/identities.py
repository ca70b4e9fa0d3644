"""The stage that keeps cilium_ipcache_v2, and this node's own addresses in cilium_lxc. Called by `node`.

Four sources claim addresses: endpoints of this node, nodes, endpoint slices, address ranges that policies name. The
first owner in this order counts, so a slice that lags behind never overrides what is known here, and a range never
what is known of a single address.

A range is split into narrower ones while traffic flows. So the ranges that go leave before the policy maps change, and
those that come are written after: `apply` runs before the endpoints' stage, `apply_new_ranges` after it.

What other nodes and ranges are called waits for `tables.policy_listed`: from less they would be called otherwise.
"""

from collections.abc import Callable

from seta_agent.desired import endpoints, ipcache
from seta_agent.desired.encode import Entries
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.tables import IPAddress, IPNetwork, Tables

IPCACHE, LXC = "cilium_ipcache_v2", "cilium_lxc"
RANGE = "3-range"


class IdentityStage:
    """Dirty are the owners changed since the last pass.

    ("0-endpoint", id), ("1-node", name), ("2-slice", name), ("3-range", identity).
    """

    def __init__(self, tables: Tables, node_name: str, wake: Callable[[], None]) -> None:
        self._tables = tables
        self._node_name = node_name
        self._wake = wake
        self._dirty: set[tuple[str, str]] = set()
        self._new_ranges: set[tuple[str, str]] = set()  # to be written once the policy maps know them
        self._own_addresses: frozenset[IPAddress] = frozenset()
        self._pod_cidrs: frozenset[IPNetwork] = frozenset()
        tables.endpoints.subscribe(lambda number: self._changed("0-endpoint", str(number)), wake)
        tables.nodes.subscribe(lambda name: self._changed("1-node", name), wake)
        tables.own_addresses.subscribe(lambda _: self._changed("1-node", node_name))
        tables.remote_pods.subscribe(lambda name: self._changed("2-slice", name), wake)
        tables.admitted.subscribe(self._admitted_changed, wake)

    def _changed(self, source: str, name: str) -> None:
        self._dirty.add((source, name))
        self._wake()

    def _admitted_changed(self, number: int) -> None:
        """A range, or the nodes that bear the identity."""
        self._changed(RANGE, str(number))
        for row in self._tables.nodes:
            if row.identity == number:
                self._changed("1-node", row.name)

    def recheck(self) -> None:
        """Look at every source again."""
        self._own_addresses = frozenset()
        tables = self._tables
        self._dirty |= {("0-endpoint", str(row.id)) for row in tables.endpoints}
        self._dirty |= {("1-node", row.name) for row in tables.nodes}
        self._dirty |= {("2-slice", name) for name in tables.remote_pods.keys()}  # noqa: SIM118 (a table, no mapping)
        self._dirty |= self._ranges()

    def apply(self, maps: KernelMaps) -> int:
        """Bring the kernel up to date but for new ranges: how many entries changed."""
        tables = self._tables
        dirty, self._dirty = self._dirty, set()
        if ("1-node", self._node_name) in dirty:
            dirty |= self._take_own_addresses(maps)
        if any(source == "1-node" for source, _ in dirty):
            dirty |= self._take_pod_cidrs()
        if not tables.policy_listed:
            self._dirty |= {owner for owner in dirty if self._waits(owner)}
            dirty -= self._dirty
        self._new_ranges |= {owner for owner in dirty if owner[0] == RANGE and self._entries(*owner, maps)}
        changed = self._write(dirty - self._new_ranges, maps)
        if tables.listed:
            # Ranges that an earlier agent left are wanted: they must not go before they come again.
            if not maps.reconciler(IPCACHE).is_complete:
                changed += self.apply_new_ranges(maps)
            maps.reconciler(IPCACHE).complete()
        return changed + (maps.reconciler(IPCACHE).apply() if maps.reconciler(IPCACHE).pending else 0)

    def _waits(self, owner: tuple[str, str]) -> bool:
        return owner[0] == RANGE or (owner[0] == "1-node" and owner[1] != self._node_name)

    def apply_new_ranges(self, maps: KernelMaps) -> int:
        """After the policy maps know the identities: how many entries changed."""
        ranges, self._new_ranges = self._new_ranges, set()
        return self._write(ranges, maps)

    def _write(self, owners: set[tuple[str, str]], maps: KernelMaps) -> int:
        reconciler = maps.reconciler(IPCACHE)
        for source, name in owners:
            reconciler.set((source, name), self._entries(source, name, maps))
        return reconciler.apply() if reconciler.pending else 0

    def _take_own_addresses(self, maps: KernelMaps) -> set[tuple[str, str]]:
        """The node's own addresses; when they change every slice says something else about where pods live."""
        own = self._tables.nodes.get(self._node_name)
        entries = endpoints.of_node(self._tables.ips_of_own(own), *maps.layout(LXC)) if own else {}
        maps.reconciler(LXC).set(("0-node", ""), entries)
        addresses = frozenset(own.internal_ips if own else ())
        if addresses == self._own_addresses:
            return set()
        self._own_addresses = addresses
        return {("2-slice", name) for name in self._tables.remote_pods.keys()}  # noqa: SIM118 (a table, no mapping)

    def _take_pod_cidrs(self) -> set[tuple[str, str]]:
        """Where pods live; when that changes a range may be all pods', or no longer so."""
        cidrs = frozenset(cidr for node in self._tables.nodes for cidr in node.pod_cidrs)
        if cidrs == self._pod_cidrs:
            return set()
        self._pod_cidrs = cidrs
        return self._ranges()

    def _ranges(self) -> set[tuple[str, str]]:
        return {(RANGE, str(number)) for number in self._tables.admitted.keys()}  # noqa: SIM118 (a table, no mapping)

    def _entries(self, source: str, name: str, maps: KernelMaps) -> Entries:
        key, value = maps.layout(IPCACHE)
        tables = self._tables
        if source == "0-endpoint":
            endpoint = tables.endpoints.get(int(name))
            return ipcache.of_endpoint(endpoint, key, value) if endpoint else {}
        if source == "1-node":
            node = tables.nodes.get(name)
            if node is None:
                return {}
            if name == self._node_name:
                return ipcache.of_own(tables.ips_of_own(node), key, value)
            return ipcache.of_node(node, tables.admitted.keys(), key, value)
        if source == RANGE:
            identity = tables.admitted.get(int(name))
            return ipcache.of_range(identity, self._pod_cidrs, key, value) if identity else {}
        pods = tables.remote_pods.get(name)
        return ipcache.of_slice(pods, self._own_addresses, key, value) if pods else {}
