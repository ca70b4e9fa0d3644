"""Finds objects that went without the watch saying so.

kopf lists again when a watch has become too old (410) and reports what is there, never what has gone meanwhile.
A task in app.py therefore compares names now and then; lists of names only are cheap.
"""

import asyncio

import structlog

from seta_operator.store import errors
from seta_operator.store.api import Api
from seta_operator.store.cluster import READERS, Cluster

INTERVAL = 300.0  # seconds
log = structlog.get_logger()


async def run(api: Api, cluster: Cluster, interval: float = INTERVAL) -> None:
    """Sweep for ever."""
    while True:
        await asyncio.sleep(interval)
        await once(api, cluster)


async def once(api: Api, cluster: Cluster) -> None:
    """Remove from every table what is not listed, unless it was seen after the list was made."""
    for kind, table in cluster.tables.items():
        if kind not in READERS:
            continue
        try:
            version, listed = await api.names(kind)
        except errors.ApiError as error:
            log.info("sweep.failed", kind=kind.kind, error=str(error))
            continue
        for key in table.known() - listed:
            log.info("sweep.gone", kind=kind.kind, namespace=key[0], name=key[1])
            cluster.gone(kind, key, version)
