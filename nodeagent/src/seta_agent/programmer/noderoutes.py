"""The stage that keeps the routes to other nodes' pods and to this node's. Called by `node`.

A route that the kernel refuses (autoDirectNodeRoutes, and a node registers an address that is not on this network) is
told and tried again. It is that one node's trouble: this one's datapath is programmed without it.
"""

from collections.abc import Callable

import structlog

from seta_agent.desired import routes
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.programmer.hostdevices import OnNetlink
from seta_agent.settings import Settings
from seta_agent.tables import Node, Tables

log = structlog.get_logger()


class RouteStage:
    """Routes of one pod are set by the endpoints' stage, too, before the pod is programmed."""

    def __init__(self, settings: Settings, tables: Tables, wake: Callable[[], None]) -> None:
        self._settings = settings
        self._tables = tables
        self._wake = wake
        self._dirty = True
        self.errors: list[str] = []  # a sentence for each route that the kernel refuses
        tables.nodes.subscribe(self._node_changed, wake)

    def retry(self) -> None:
        """Try again what failed."""
        self._dirty |= bool(self.errors)

    def recheck(self) -> None:
        """Compare with the kernel's in the next pass."""
        self._dirty = True

    async def apply(self, own: Node, native_mtu: int, netlink: OnNetlink) -> None:
        """Bring the kernel up to date; nothing happens before nodes and endpoints have been listed."""
        if not (self._dirty and self._tables.nodes.synced and self._tables.endpoints.synced):
            return
        self._dirty = False
        wanted = routes.to_nodes(self._settings, own, self._tables.nodes, native_mtu)
        for endpoint in self._tables.endpoints:
            wanted += routes.to_endpoint(endpoint, own)[0]
        failed: list[str] = []
        try:
            await netlink(lambda host: failed.extend(host.sync_routes(wanted)))
        except ProgrammingError:
            self._dirty = True
            raise
        if failed and failed != self.errors:
            log.warning("routes_not_set", routes=len(failed), first=failed[0])
        self.errors = failed

    def _node_changed(self, _name: str) -> None:
        self._dirty = True
        self._wake()
