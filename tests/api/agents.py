"""Agents without nodes: they renew heartbeats and report what their lists say, as L2 announcements want it."""

import contextlib
import json
import threading
from types import TracebackType
from typing import Any, Self

from seta_crds import names
from tests.api.client import Client, RefusedError
from tests.api.controlplane import ControlPlane

JSON = dict[str, Any]
NAMESPACE, PREFIX = "kube-system", "cilium-l2announce-"  # of the leases


class Agents:
    """One heartbeat per node and period, from a thread. Use as a context manager."""

    def __init__(self, plane: ControlPlane, *nodes: str, period: float = 0.3) -> None:
        self.nodes, self.period = list(nodes), period
        self.silent: set[str] = set()  # nodes whose agents are dead
        self.renewals = 0
        self._plane, self._ending = plane, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        with contextlib.closing(self._plane.client()) as client:
            for node in self.nodes:
                meta = {"namespace": NAMESPACE, "name": names.node_lease_name(node)}
                with contextlib.suppress(RefusedError):
                    client.delete({"kind": "Lease", "metadata": meta})

    def _run(self) -> None:
        with contextlib.closing(self._plane.client()) as client:
            while not self._ending.is_set():
                for node in [node for node in self.nodes if node not in self.silent]:
                    client.apply(self._heartbeat(client, node))
                    self.renewals += 1
                self._ending.wait(self.period)

    def _heartbeat(self, client: Client, node: str) -> JSON:
        try:
            meta = client.get(names.NODE_ANNOUNCEMENTS, node)["metadata"]
        except RefusedError:
            meta = {"uid": "", "generation": 0}
        state = {"uid": meta["uid"], "released": meta["generation"], "interfaces": {"eth0": True}}
        return {
            "kind": "Lease",
            "metadata": {
                "namespace": NAMESPACE,
                "name": names.node_lease_name(node),
                "annotations": {names.L2_STATE_ANNOTATION: json.dumps(state)},
            },
            "spec": {"holderIdentity": node, "leaseTransitions": self.renewals},
        }


def holders(client: Client) -> dict[str, str]:
    """Name of each service's lease, less its beginning -> its holder."""
    found = client.request("GET", names.LEASE.path(NAMESPACE))["items"]
    return {
        one["metadata"]["name"].removeprefix(PREFIX): one["spec"]["holderIdentity"]
        for one in found
        if one["metadata"]["name"].startswith(PREFIX)
    }


def external(name: str, address: str) -> JSON:
    """A Service with an external IP."""
    spec = {"ports": [{"name": "http", "port": 80}], "externalIPs": [address]}
    return {"kind": "Service", "metadata": {"name": name}, "spec": spec}


def policy(name: str = "all", **spec: Any) -> JSON:
    """A CiliumL2AnnouncementPolicy of external IPs."""
    return {"kind": "CiliumL2AnnouncementPolicy", "metadata": {"name": name}, "spec": {"externalIPs": True, **spec}}
