"""Endpoints: CiliumEndpoints of agents are gathered into CiliumEndpointSlices, which agents watch.

Waits a moment after the first change: pods come in bursts, and a slice written once instead of fifty times is
what slices are for.
"""

from seta_crds import names
from seta_operator.services.slicing import Slicing
from seta_operator.services.subject import Subject
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer


class Slices(Subject[Key]):
    """Marked with (namespace, name) of CiliumEndpoints, or ("", name) of slices."""

    name = "endpoints"
    delay = 0.02

    def __init__(self, cluster: Cluster, writer: Writer) -> None:
        super().__init__()
        self._cluster, self._writer = cluster, writer
        self._slicing = Slicing()
        cluster.listen(names.ENDPOINT, lambda key, _before, _after: self.mark(key))
        cluster.listen(names.CILIUM_ENDPOINT_SLICE, lambda key, _before, _after: self.mark(key))

    def start(self) -> None:
        """Claim the slices that are written, then look at everything."""
        written = self._cluster.owned(names.CILIUM_ENDPOINT_SLICE)
        living = self._cluster.endpoints.known()
        for (_, name), held in sorted(written.items()):
            namespace = held.content.get("namespace", "")
            listed = {(namespace, item.get("name", "")) for item in held.content.get("endpoints", [])}
            self._slicing.claim(name, namespace, listed & living)
        for key in living | written.known():
            self.mark(key)

    async def apply(self, keys: set[Key]) -> set[Key]:
        """Write the slices that these endpoints are or were in."""
        touched = {name for namespace, name in keys if not namespace}
        for key in keys:
            if key[0]:
                touched.add(self._place(key))
        wanted = {("", name): self._content(name) for name in touched - {""}}
        return await self._writer.ensure(names.CILIUM_ENDPOINT_SLICE, wanted)

    def _place(self, key: Key) -> str:
        """Name of the slice to write for an endpoint; empty where it is in none."""
        endpoint = self._cluster.endpoints.get(key)
        if endpoint is None or not endpoint.identity or not endpoint.networking.get("addressing"):
            return self._slicing.remove(key) or ""
        return self._slicing.place(key)

    def _content(self, name: str) -> facts.JSON | None:
        found = self._slicing.members(name)
        if found is None:
            return None
        namespace, keys = found
        endpoints = [(key, self._cluster.endpoints.get(key)) for key in sorted(keys)]
        return {
            "metadata": {},
            "namespace": namespace,
            "endpoints": [_item(key, endpoint) for key, endpoint in endpoints if endpoint is not None],
        }


def _item(key: Key, endpoint: facts.Endpoint) -> facts.JSON:
    item = {"name": key[1], "id": endpoint.identity, "networking": endpoint.networking}
    if endpoint.named_ports:
        item["named-ports"] = endpoint.named_ports
    return item
