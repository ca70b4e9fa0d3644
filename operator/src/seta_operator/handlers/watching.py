"""The door through which what people set enters (policies, pools, nodes, namespaces): a kopf event handler per kind.

What comes by the thousand enters by another one (store/reflector.py).

Events only, no kopf.index: its guarantee (no handler before everything is listed) wakes every waiting object for
every indexed one, which is quadratic and took more than 30 s for 2,000 objects. app.py asks for a complete picture
itself (store/sweep.py). Nothing here writes: no finalizers, no annotations, no Kubernetes events.
"""

import asyncio
from typing import Any

import kopf

from seta_crds.names import Kind
from seta_operator.handlers import stateless
from seta_operator.store import cluster as tables
from seta_operator.store import connection


def registry(cluster: tables.Cluster, stopping: asyncio.Event) -> kopf.OperatorRegistry:
    """Handlers for every kind that people set; `stopping` is set when a signal ends the operator."""
    found = kopf.OperatorRegistry()
    for kind in tables.READERS:
        if kind not in tables.BULK:
            _watch(found, kind, cluster)

    @kopf.on.login(registry=found)
    async def _login(**_: Any) -> kopf.ConnectionInfo:
        return connection.login()

    @kopf.on.cleanup(registry=found)
    async def _cleanup(**_: Any) -> None:
        stopping.set()

    return found


def settings() -> kopf.OperatorSettings:
    """What is used of kopf: its watches, and nothing that writes."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True  # no watch on CRDs: they are there before we start (app.py)
    found.peering.standalone = True  # every replica watches; which one decides: store/leadership.py
    found.execution.max_workers = 1
    found.queueing.idle_timeout = 0.05  # seconds a task per object outlives its event: not thousands at a time
    found.persistence.diffbase_storage = stateless.NoDiffBase()
    found.persistence.progress_storage = stateless.NoProgress()
    return found


def _watch(found: kopf.OperatorRegistry, kind: Kind, cluster: tables.Cluster) -> None:
    selector = (kind.group, kind.version, kind.plural) if kind.group else (kind.version, kind.plural)

    @kopf.on.event(*selector, id=kind.plural, registry=found)
    async def _event(event: kopf.RawEvent, **_: Any) -> None:
        raw = dict(event["object"])
        if event["type"] is None:
            cluster.listing.set()
        if event["type"] == "DELETED":
            cluster.gone(kind, tables.key_of(raw), tables.version_of(raw))
        else:
            cluster.seen(kind, raw)
