"""The stage for the node's own traffic: its policy map, and its addresses' rows in cilium_lxc. Called by `endpoints`.

The node is guarded from when its rows carry the endpoint id, and they do only where a policy is for it and its map
is filled. That order is the other way round from pods': a node that is lost to a policy not yet read cannot be
reached to mend it. After a restart the rows stay as they are until policies have been listed.
"""

import numpy as np

from seta_agent.desired import endpoints, policymap
from seta_agent.desired.endpoints import HOST_ENDPOINT, Flag
from seta_agent.programmer.endpointpolicy import EndpointPolicy, PolicyEngine
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.nodesetup import NodeSetup
from seta_agent.settings import Settings
from seta_agent.tables import Node, Tables

LXC = "cilium_lxc"
OWNER = ("0-host", "")  # its rows count before those of ("0-node", ""), which are the same addresses unguarded


class HostStage:
    """Off, it does nothing. `policy`: what the kernel holds, None where the node is not guarded."""

    def __init__(self, settings: Settings, tables: Tables, engine: PolicyEngine, cookies: policymap.Cookies) -> None:
        self._settings = settings
        self._tables = tables
        self._engine = engine
        self._cookies = cookies
        self._dirty = True
        self.policy: EndpointPolicy | None = None
        tables.own_addresses.subscribe(lambda _: self.recheck())

    @property
    def enabled(self) -> bool:
        return self._settings.enable_host_firewall

    def restore(self, maps: KernelMaps, own: Node) -> None:
        """Before any stage writes: keep the rows that an earlier agent guarded."""
        self._dirty = True
        if not self.enabled:
            return
        rows = endpoints.of_node(self._tables.ips_of_own(own), *maps.layout(LXC))
        reconciler = maps.reconciler(LXC)
        found = {key: value for key in rows if (value := reconciler.get(key)) and self._is_guarded(value, maps)}
        reconciler.set(OWNER, found)

    def recheck(self) -> None:
        self._dirty = True

    def apply(self, setup: NodeSetup, own: Node) -> None:
        """Bring the kernel up to date; policies have been listed and taken over. `BpfError`: tried again."""
        if not self.enabled or not (self._engine.take_host_changed() or self._dirty):
            return
        self._dirty = True
        found = self._engine.host(self._settings.tunnel_port)
        guarded = found.ingress.enforced or found.egress.enforced
        if guarded:
            entries = policymap.encode(found.by_egress, self._cookies, *setup.policy_maps.layout)
            setup.policy_maps.fill(HOST_ENDPOINT, entries)
        self._write_rows(setup.maps, own, self._flags(found) if guarded else None)
        if guarded:
            setup.policy_maps.drop_stale(HOST_ENDPOINT)
        elif HOST_ENDPOINT in setup.policy_maps.known():
            setup.policy_maps.remove(HOST_ENDPOINT)
        self.policy = found if guarded else None
        self._dirty = False

    def _write_rows(self, maps: KernelMaps, own: Node, flags: Flag | None) -> None:
        reconciler = maps.reconciler(LXC)
        addresses = () if flags is None else self._tables.ips_of_own(own)
        reconciler.set(OWNER, endpoints.of_node(addresses, *maps.layout(LXC), flags=flags))
        reconciler.apply()

    def _flags(self, found: EndpointPolicy) -> Flag:
        return flags_of(found, audit=self._settings.policy_audit_mode)

    @staticmethod
    def _is_guarded(value: bytes, maps: KernelMaps) -> bool:
        row = np.frombuffer(value, maps.layout(LXC)[1])[0]
        return bool(row["lxc_id"] == HOST_ENDPOINT)


def flags_of(found: EndpointPolicy, *, audit: bool) -> Flag:
    """Of an endpoint's row in cilium_lxc, a pod's or the node's."""
    flags = Flag.AUDIT if audit else Flag(0)
    if not found.ingress.enforced:
        flags |= Flag.INGRESS_OPEN
    if not found.egress.enforced:
        flags |= Flag.EGRESS_OPEN
    return flags
