"""healthCheckNodePort: has this node endpoints of a Service with externalTrafficPolicy Local? A task of the agent.

A load balancer in front of the nodes asks each of them on the Service's own port and sends clients only where the
answer is 200. Answers are kube-proxy's. Level-based: the ports that are open are made equal to what the services table
says, and an answer is computed when it is asked for, so that a changed backend costs nothing here.
"""

import asyncio
import ipaddress
import json
from collections.abc import Callable

import structlog

from seta_agent.probes.server import Answer, ProbeServer
from seta_agent.signals import Signal
from seta_agent.tables import IPNetwork, Service, Tables

log = structlog.get_logger()
RETRY_SECONDS = 5.0  # until a port that was taken is tried again
Key = tuple[str, str]  # namespace, name of a Service
HEADERS = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}


class ServiceHealth:
    """Owns the open ports. `healthy` says whether the node's datapath is as it should be."""

    def __init__(
        self, tables: Tables, node_name: str, addresses: tuple[IPNetwork, ...], healthy: Callable[[], bool]
    ) -> None:
        """`addresses`: ranges of the node's addresses that serve node ports; (): all."""
        self._services = tables.services
        self._node_name = node_name
        self._addresses = addresses
        self._healthy = healthy
        self._open: dict[Key, tuple[int, ProbeServer]] = {}  # service -> its port, open
        self._dirty: set[Key] = set(tables.services.keys())
        self.errors: dict[Key, str] = {}  # service -> why its port is not open
        self._changed = Signal(tables.services)
        tables.services.subscribe(self._dirty.add)

    @property
    def ports(self) -> int:
        """How many are open."""
        return len(self._open)

    async def run(self) -> None:
        """Until cancelled; the ports close with it."""
        try:
            while True:
                await self.step()
                try:
                    async with asyncio.timeout(RETRY_SECONDS if self.errors else None):
                        await self._changed.wait()
                except TimeoutError:
                    self.retry()
        finally:
            self.close()

    def retry(self) -> None:
        """The next step tries again what could not be opened."""
        self._dirty |= self.errors.keys()

    def close(self) -> None:
        for _, server in self._open.values():
            server.close()
        self._open.clear()

    async def step(self) -> None:
        """Closes before it opens: a port may have moved from one Service to another."""
        dirty = list(self._dirty)
        self._dirty.clear()
        wanted = {key: wanted_port(self._services.get(key)) for key in dirty}
        for key, port in wanted.items():
            if key in self._open and self._open[key][0] != port:
                self._open.pop(key)[1].close()
            if not port:
                self.errors.pop(key, None)
        for key, port in wanted.items():
            if port and key not in self._open:
                await self._listen(key, port)

    def answer(self, key: Key) -> Answer:
        """As kube-proxy answers, on every path."""
        row = self._services.get(key)
        count, healthy = local_endpoints(row, self._node_name) if row else 0, self._healthy()
        told = {
            "service": {"namespace": key[0], "name": key[1]},
            "localEndpoints": count,
            "serviceProxyHealthy": healthy,
        }
        headers = {**HEADERS, "X-Load-Balancing-Endpoint-Weight": str(count)}
        return Answer(200 if count and healthy else 503, json.dumps(told, indent="\t"), headers)

    async def _listen(self, key: Key, port: int) -> None:
        server = ProbeServer(lambda _: self.answer(key), port, local=self._serves)
        fault = await server.open()
        if not fault:
            self.errors.pop(key, None)
            self._open[key] = (port, server)
        elif self.errors.get(key) != fault:
            log.warning("health_check_port_closed", service="/".join(key), error=fault)
            self.errors[key] = fault

    def _serves(self, address: str) -> bool:
        if not self._addresses:
            return True
        own = ipaddress.ip_address(address)
        return any(own in network for network in self._addresses)


def wanted_port(row: Service | None) -> int:
    """0: the Service asks for none, or is gone."""
    return row.health_check_node_port if row and row.external_local else 0


def local_endpoints(row: Service, node_name: str) -> int:
    """How many pods of the node serve; one that serves several ports, or has two addresses, counts once."""
    addresses = {
        backend.address
        for port in row.ports
        for backend in port.backends
        if backend.node == node_name and backend.state == "active"
    }
    return max(sum(one.version == version for one in addresses) for version in (4, 6))
