"""Compares the tables with lists of names: what is there and not seen, or seen and no more there.

The first is asked at the start (app.py): nothing is decided on half a picture. The second now and then: kopf lists
again when a watch has become too old (410) and reports what is there, never what has gone meanwhile: a sweep follows
each such listing, and comes every few minutes besides. Lists of names only are cheap.
"""

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from seta_crds.names import Kind
from seta_operator.store import errors
from seta_operator.store.api import Api
from seta_operator.store.cluster import READERS, Cluster

INTERVAL, SETTLE = 300.0, 2.0  # seconds: without a reason, and after a listing began
log = structlog.get_logger()


async def missing(api: Api, cluster: Cluster, kinds: Iterable[Kind]) -> dict[Kind, int]:
    """Kind -> how many of its objects no watch has shown yet; without the kinds that are complete.

    Raises:
        ApiError: the API server does not answer.

    """
    found: dict[Kind, int] = {}
    for kind in kinds:
        _, listed = await api.names(kind)
        if unseen := listed - cluster.tables[kind].known():
            found[kind] = len(unseen)
    return found


async def run(api: Api, cluster: Cluster, settle: float = SETTLE) -> None:
    """Sweep for ever."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(cluster.listing.wait(), INTERVAL)
            await asyncio.sleep(settle)
        cluster.listing.clear()
        await once(api, cluster)


async def once(api: Api, cluster: Cluster) -> None:
    """Remove from every table what is not listed, unless it was seen after the list was made."""
    for kind in READERS:
        table = cluster.tables[kind]
        try:
            version, listed = await api.names(kind)
        except errors.ApiError as error:
            log.info("sweep.failed", kind=kind.kind, error=str(error))
            continue
        for key in table.known() - listed:
            if cluster.gone(kind, key, version):
                log.info("sweep.gone", kind=kind.kind, namespace=key[0], name=key[1])
