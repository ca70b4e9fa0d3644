"""The doors through which the cluster's changes enter: one index and one event handler per kind, for kopf.

Why kopf's index: its event handlers wait until every indexed kind has been listed, so the first event proves that
the tables hold the whole cluster. Before that no identity is allocated and nothing is collected: nothing is ever
decided on half a picture. Nothing here writes: no finalizers, no annotations, no Kubernetes events.
"""

import asyncio
from typing import Any

import kopf

from seta_crds.names import Kind
from seta_operator.store import cluster as tables
from seta_operator.store import connection


def registry(cluster: tables.Cluster, listed: asyncio.Event) -> kopf.OperatorRegistry:
    """Handlers for every kind the cluster has a table for; `listed` is set once all are listed."""
    found = kopf.OperatorRegistry()
    for kind in tables.READERS:
        _watch(found, kind, cluster, listed)

    @kopf.on.login(registry=found)
    async def _login(**_: Any) -> kopf.ConnectionInfo:
        return connection.login()

    return found


def settings() -> kopf.OperatorSettings:
    """What is used of kopf: its watches, and nothing that writes."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True  # no watch on CRDs: they are there before we start (app.py)
    found.peering.standalone = True  # one replica, strategy Recreate
    found.execution.max_workers = 1
    return found


def _watch(found: kopf.OperatorRegistry, kind: Kind, cluster: tables.Cluster, listed: asyncio.Event) -> None:
    selector = (kind.group, kind.version, kind.plural) if kind.group else (kind.version, kind.plural)

    @kopf.index(*selector, id=f"seen-{kind.plural}", registry=found)
    async def _seen(body: kopf.Body, **_: Any) -> None:
        cluster.seen(kind, dict(body))

    @kopf.on.event(*selector, id=f"event-{kind.plural}", registry=found)
    async def _event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        listed.set()
        if type == "DELETED":
            raw = dict(body)
            cluster.gone(kind, tables.key_of(raw), tables.version_of(raw))
