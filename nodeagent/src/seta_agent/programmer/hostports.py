"""Which pods of this node have host ports, as services. Asked by `services`.

A pod answers from the moment it has an endpoint: its address is known by then, long before its status says so.
"""

from collections.abc import Callable, Iterator

from seta_agent.desired import hostports
from seta_agent.desired.lbids import Owner
from seta_agent.tables import Endpoint, Pod, Service, Tables

NAMESPACE = "~host-ports"  # of the owners: no namespace, and after all of them, so that a service goes first


class HostPorts:
    """Looks at every pod that has host ports where any pod or endpoint changed: they are few."""

    def __init__(self, tables: Tables, changed: Callable[[], None]) -> None:
        self._tables = tables
        self._changed = changed
        self._known: set[Owner] = set()  # pods that had host ports when last looked at
        self._stale = True
        for listen in (tables.pods.subscribe, tables.endpoints.subscribe):
            listen(self._note, changed)

    @property
    def synced(self) -> bool:
        return self._tables.pods.synced and self._tables.endpoints.synced

    def recheck(self) -> None:
        self._stale = True

    def take(self, node: str) -> Iterator[tuple[Owner, Service | None]]:
        """The pods that may have changed since the last call; None: it has no host ports any more."""
        if not self._stale:
            return
        self._stale = False
        before, self._known = self._known, set()
        for pod in self._tables.pods:
            endpoint = self._endpoint(pod) if pod.host_ports else None
            if endpoint:
                owner = NAMESPACE, f"{pod.namespace}/{pod.name}"
                self._known.add(owner)
                yield owner, hostports.service(pod, endpoint, node)
        for owner in before - self._known:
            yield owner, None

    def rows(self, node: str) -> Iterator[Service]:
        """Every pod's, as the tables are now."""
        for pod in self._tables.pods:
            endpoint = self._endpoint(pod) if pod.host_ports else None
            if endpoint:
                yield hostports.service(pod, endpoint, node)

    def _note(self, _key: object) -> None:
        self._stale = True
        self._changed()

    def _endpoint(self, pod: Pod) -> Endpoint | None:
        """Its newest one: a pod that is made anew has the name of the one before."""
        own = [
            row
            for row in self._tables.endpoints
            if (row.namespace, row.pod) == (pod.namespace, pod.name) and row.pod_uid in (pod.uid, pod.runtime_uid)
        ]
        return max(own, key=lambda row: row.ifindex, default=None)
