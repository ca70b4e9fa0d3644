"""Pods' identities: from a pod and its namespace to the label set that has a number. Used by membership.py."""

from collections.abc import Iterator

import structlog

from seta_crds import labels
from seta_operator.services import identities
from seta_operator.services.members import Members
from seta_operator.services.numbers import ExhaustedError
from seta_operator.services.universe import Identity
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key

log = structlog.get_logger()


class Pods:
    """Which pod has which identity."""

    def __init__(self, cluster: Cluster, members: Members, label_filter: labels.LabelFilter, cluster_name: str) -> None:
        self._cluster, self._members = cluster, members
        self._filter, self._cluster_name = label_filter, cluster_name
        self._identities = identities.Identities()

    def restore(self) -> None:
        """Take over the identities that are written, or that endpoints have."""
        for number, label_set in _given(self._cluster):
            if self._identities.restore(number, label_set):
                self._members.put(Identity(number, dict(label_set)))
            else:
                log.warning("identity.odd", identity=number)

    def decide(self, key: Key) -> None:
        """The pod, or its namespace, has changed."""
        pod, namespace = self._cluster.pods.get(key), self._cluster.namespaces.get(("", key[0]))
        if pod is None or not pod.on_network:
            self._identities.forget(key)
        elif namespace is not None:  # else its namespace's event will bring it here again
            own = (pod.labels, key[0], namespace, pod.service_account, self._cluster_name, self._filter)
            self._assign(key, identities.canonical(labels.identity_labels(*own, pod.named_ports)))

    def collect(self, now: float, grace: float) -> list[int]:
        """Release what neither a pod nor an endpoint has had for `grace` seconds; which numbers they were."""
        in_use = (endpoint.identity for _, endpoint in self._cluster.endpoints.items())
        return self._identities.collect(in_use, now, grace)

    def _assign(self, key: Key, label_set: identities.Labels) -> None:
        try:
            fresh = self._identities.assign(key, label_set)
        except ExhaustedError as error:
            log.warning("identity.exhausted", namespace=key[0], name=key[1], error=str(error))
            return
        if fresh is not None:
            log.info("identity.allocated", identity=fresh, namespace=key[0], pod=key[1])
            self._members.put(Identity(fresh, dict(label_set)))


def _given(cluster: Cluster) -> Iterator[tuple[int, identities.Labels]]:
    """Numbers given out before a restart, ascending: by CiliumIdentity, else by an endpoint that has one."""
    from_endpoints = {
        endpoint.identity: endpoint.labels for _, endpoint in cluster.endpoints.items() if endpoint.identity
    }
    written = {
        int(name): identities.canonical(held.content.get("security-labels") or {})
        for (_, name), held in cluster.identities.items()
        if name.isdecimal() and int(name) < labels.CIDR_IDENTITIES[0]
    }
    yield from sorted((from_endpoints | written).items())
