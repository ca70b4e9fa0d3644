"""One CiliumEndpoint per pod of this node: what the operator batches for the other nodes' ipcaches.

A task of `main`. Level-based: wanted objects come from `tables.endpoints`, known ones from our own writes and from a
listing at start and now and then; the difference is written. Server-side apply makes create and change one request.
"""

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import structlog

from seta_agent.kube import KubeClient, KubeError, Object
from seta_agent.signals import Signal
from seta_agent.tables import Endpoint, Tables
from seta_crds import names

log = structlog.get_logger()

MANAGER = "seta-agent"
NODE_LABEL = "seta.dev/node"  # so that an agent can list its own
LISTING_SECONDS = 600.0  # somebody may have deleted or changed one
RETRY_SECONDS = 2.0
SETTLE_SECONDS = 0.5  # after a change: whether policy is enforced is known once the programmer has applied it
AT_ONCE = 8  # requests; a burst of pods must not take the API server for itself
CONFLICT = 409
Key = tuple[str, str]  # namespace, pod name
Enforcement = Callable[[Endpoint], tuple[bool, bool]]  # policy enforced (ingress, egress)


def node_label(node_name: str) -> str:
    """A label value holds 63 characters; a node's name may have 253."""
    return node_name if len(node_name) <= 63 else hashlib.sha256(node_name.encode()).hexdigest()[:32]


def desired(endpoint: Endpoint, node_name: str, node_ip: str, enforcing: tuple[bool, bool]) -> Object:
    """The object without what the API server adds; pure."""
    ingress, egress = enforcing
    return {
        "apiVersion": names.ENDPOINT.api_version,
        "kind": names.ENDPOINT.kind,
        "metadata": {
            "name": endpoint.pod,
            "namespace": endpoint.namespace,
            "labels": {NODE_LABEL: node_label(node_name)},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": endpoint.pod, "uid": endpoint.pod_uid}],
        },
        "status": {
            "id": endpoint.id,
            "identity": {"id": endpoint.identity, "labels": list(endpoint.labels)},
            "networking": {"addressing": [{"ipv4": str(endpoint.ipv4)}], "node": node_ip},
            "state": "ready",
            "named-ports": [
                {"name": name, "port": port, "protocol": protocol} for name, port, protocol in endpoint.named_ports
            ],
            "external-identifiers": {
                "container-id": endpoint.container_id,
                "k8s-namespace": endpoint.namespace,
                "k8s-pod-name": endpoint.pod,
                "pod-name": f"{endpoint.namespace}/{endpoint.pod}",
            },
            "policy": {
                "ingress": {"enforcing": ingress, "state": "enforcing" if ingress else "disabled"},
                "egress": {"enforcing": egress, "state": "enforcing" if egress else "disabled"},
            },
        },
    }


@dataclasses.dataclass
class Written:
    """An object of ours as we last saw it on the API server; `content` is None where that may differ from our wish."""

    uid: str
    version: str
    content: Object | None


class EndpointWriter:
    """Owns the CiliumEndpoints of this node."""

    def __init__(self, tables: Tables, client: KubeClient, node_name: str, enforcement: Enforcement) -> None:
        self._tables = tables
        self._client = client
        self._node_name = node_name
        self._enforcement = enforcement
        self._written: dict[Key, Written] = {}  # (namespace, pod name) -> what is on the API server
        self._signal = Signal(tables.endpoints, tables.nodes, tables.policies, tables.selector_sets)
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        due, pause = 0.0, SETTLE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            try:
                if loop.time() >= due:
                    await self._list()
                    due = loop.time() + LISTING_SECONDS
                complete = await self.step()
            except KubeError as error:
                log.warning("cilium_endpoints_unlisted", error=str(error))
                complete = False
            changed = await self._pause(pause if complete else RETRY_SECONDS)
            pause = SETTLE_SECONDS if changed else LISTING_SECONDS

    async def step(self) -> bool:
        """Writes every difference. False where some could not be written."""
        wanted = self._wanted()
        if wanted is None:
            return False
        changes = [self._apply(key, item) for key, item in wanted.items() if not self._holds(key, item)]
        removals = [self._delete(key) for key in self._written if key not in wanted]
        return all(await asyncio.gather(*changes, *removals))

    def _wanted(self) -> dict[Key, Object] | None:
        """None while this node's own address is not known: nothing may be deleted on the strength of that."""
        node = self._tables.nodes.get(self._node_name)
        if node is None or not node.internal_ips:
            return None
        address = str(node.internal_ips[0])
        return {
            (endpoint.namespace, endpoint.pod): desired(endpoint, self._node_name, address, self._enforcement(endpoint))
            for endpoint in self._tables.endpoints
            if endpoint.identity is not None
        }

    def _holds(self, key: Key, item: Object) -> bool:
        written = self._written.get(key)
        return written is not None and written.content == item

    async def _list(self) -> None:
        """What of ours is there, stale ones too; every one is then written once more or deleted."""
        found: dict[Key, Written] = {}
        selector = {"labelSelector": f"{NODE_LABEL}={node_label(self._node_name)}"}
        async for page in self._client.pages(names.ENDPOINT.path(), selector):
            for item in page.get("items") or ():
                metadata = item["metadata"]
                found[metadata["namespace"], metadata["name"]] = _seen(metadata, None)
        self._written = found

    async def _apply(self, key: Key, item: Object) -> bool:
        try:
            async with self._gate:
                answer = await self._client.apply(names.ENDPOINT.path(*key), item, MANAGER)
        except KubeError as error:
            log.warning("cilium_endpoint_unwritten", pod="/".join(key), error=str(error))
            return False
        self._written[key] = _seen(answer["metadata"], item)
        return True

    async def _delete(self, key: Key) -> bool:
        """Deletes only what we wrote: a pod of that name may run on another node by now."""
        written = self._written[key]
        try:
            async with self._gate:
                conditions = {"uid": written.uid, "resourceVersion": written.version}
                await self._client.delete(names.ENDPOINT.path(*key), conditions)
        except KubeError as error:
            if error.status == CONFLICT:
                return await self._look_again(key)
            if not error.gone:
                log.warning("cilium_endpoint_undeleted", pod="/".join(key), error=str(error))
                return False
        self._written.pop(key, None)
        return True

    async def _look_again(self, key: Key) -> bool:
        """Somebody changed it: still ours means to try again with what it is now, another node's to leave it."""
        try:
            metadata = (await self._client.get(names.ENDPOINT.path(*key)))["metadata"]
        except KubeError as error:
            if error.gone:
                self._written.pop(key, None)
            return error.gone
        if (metadata.get("labels") or {}).get(NODE_LABEL) != node_label(self._node_name):
            self._written.pop(key, None)
            return True
        self._written[key] = _seen(metadata, None)
        return False

    async def _pause(self, seconds: float) -> bool:
        """Whether something changed before the time was over."""
        try:
            await asyncio.wait_for(self._signal.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _seen(metadata: dict[str, Any], content: Object | None) -> Written:
    return Written(metadata["uid"], metadata["resourceVersion"], content)
