"""All that is answered to load balancers on this node. Made by the agent; `seta status` shows `describe()`."""

import asyncio
from collections.abc import Callable

import structlog

from seta_agent.probes.proxy import ProxyHealth
from seta_agent.probes.server import ProbeServer
from seta_agent.probes.services import RETRY_SECONDS, ServiceHealth
from seta_agent.settings import Settings, address_and_port
from seta_agent.tables import Tables

log = structlog.get_logger()


class NodeProbes:
    """`failing_since`: the programmer's, monotonic seconds or None."""

    def __init__(self, settings: Settings, tables: Tables, failing_since: Callable[[], float | None]) -> None:
        self._settings = settings
        self._nodes = tables.nodes
        self._proxy = ProxyHealth(failing_since, self._eligible)
        self._proxy_error = ""
        self._services = ServiceHealth(tables, settings.node_name, settings.nodeport_addresses, self._proxy.healthy)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._settings.enable_health_check_nodeport:
                tasks.create_task(self._services.run())
            if self._settings.kube_proxy_replacement_healthz_bind_address:
                tasks.create_task(self._serve_proxy())

    def describe(self) -> dict[str, object]:
        """How many health check node ports are open, and what could not be opened."""
        errors = {"/".join(key): error for key, error in self._services.errors.items()}
        if self._proxy_error:
            errors["kubeProxyReplacementHealthzBindAddr"] = self._proxy_error
        return {"health_check_node_ports": self._services.ports, "errors": errors}

    def _eligible(self) -> bool:
        """Whether the node is to get traffic: its CiliumNode goes with its Node."""
        return not self._nodes.synced or self._nodes.get(self._settings.node_name) is not None

    async def _serve_proxy(self) -> None:
        address, port = address_and_port(self._settings.kube_proxy_replacement_healthz_bind_address)
        server = ProbeServer(self._proxy.answer, port, address)
        try:
            while fault := await server.open():
                if not self._proxy_error:
                    log.warning("healthz_address_closed", address=address, error=fault)
                self._proxy_error = fault
                await asyncio.sleep(RETRY_SECONDS)
            self._proxy_error = ""
            await asyncio.Event().wait()
        finally:
            server.close()
