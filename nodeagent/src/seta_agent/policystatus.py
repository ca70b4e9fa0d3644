"""NodePolicyStatus: which generation of which policy this node enforces. A task of the agent.

The operator joins what all nodes say into the condition `Enforced` of each policy. One object per node, written at most
once a second: what it costs grows with nodes, not with nodes times policies. Level-based: what is enforced now is
compared with what was last written; the first write after a start happens in any case.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from seta_agent.kube import KubeClient, KubeError, Object
from seta_agent.signals import Signal
from seta_agent.tables import Node, Tables
from seta_crds import names

log = structlog.get_logger()
MANAGER = "seta-agent"
INTERVAL_SECONDS = 1.0  # between writes
RETRY_SECONDS = 2.0
Enforced = Mapping[str, int]  # name of a CompiledPolicy -> generation of its source


def desired(node: Node, enforced: Enforced) -> Object:
    """The object without what the API server adds; it goes with its CiliumNode.

    Without a status where nothing is enforced: applied, a map that becomes empty would be null, which is refused.
    """
    owner = {"apiVersion": names.CILIUM_NODE.api_version, "kind": names.CILIUM_NODE.kind, "name": node.name}
    return {
        "apiVersion": names.NODE_POLICY_STATUS.api_version,
        "kind": names.NODE_POLICY_STATUS.kind,
        "metadata": {"name": node.name, "ownerReferences": [{**owner, "uid": node.uid}]},
        **({"status": {"enforced": dict(sorted(enforced.items()))}} if enforced else {}),
    }


class PolicyStatusWriter:
    """`enforced` says what the kernel enforces, None while that is not known; `changed` fires when it changes."""

    def __init__(
        self, tables: Tables, client: KubeClient, node_name: str, enforced: Callable[[], Enforced | None]
    ) -> None:
        self._nodes = tables.nodes
        self._client = client
        self._node_name = node_name
        self._enforced = enforced
        self._written: Object | None = None
        self.changed = Signal(tables.nodes)

    async def run(self) -> None:
        while True:
            complete = await self.step()
            await asyncio.sleep(INTERVAL_SECONDS if complete else RETRY_SECONDS)
            while complete and self._wanted() in (None, self._written):
                await self.changed.wait()

    async def step(self) -> bool:
        """Writes what differs. False where that failed."""
        wanted = self._wanted()
        if wanted is None or wanted == self._written:
            return True
        try:
            await self._client.apply(names.NODE_POLICY_STATUS.path(name=self._node_name), wanted, MANAGER)
        except KubeError as error:
            log.warning("node_policy_status_unwritten", error=str(error))
            return False
        self._written = wanted
        return True

    def _wanted(self) -> Object | None:
        """None while there is nothing to say, or no CiliumNode that would own it."""
        node, enforced = self._nodes.get(self._node_name), self._enforced()
        return desired(node, enforced) if node is not None and node.uid and enforced is not None else None
