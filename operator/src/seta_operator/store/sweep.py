"""Compares the tables with lists of names: what is there and not seen, or seen and no more there.

Both are asked before an operator decides (app.py): not on half a picture, nor on one that lags behind what the operator
before it has written. What is no more there is looked for later, too: kopf lists again when a watch has become too old
(410) and reports what is there, never what has gone meanwhile. A sweep follows each such listing, and comes every few
minutes besides. Lists of names only are cheap.
"""

import asyncio
import contextlib
from collections.abc import Iterable

import structlog

from seta_crds.names import Kind
from seta_operator.store import errors
from seta_operator.store.api import Api
from seta_operator.store.cluster import READERS, Cluster
from seta_operator.store.table import Key

Behind = dict[Kind, dict[Key, int]]  # kind -> object -> version that it should be seen at; GONE: not at all
GONE = -1
INTERVAL, SETTLE = 300.0, 2.0  # seconds: without a reason, and after a listing began
log = structlog.get_logger()


async def behind(api: Api, cluster: Cluster, kinds: Iterable[Kind]) -> Behind:
    """Kind -> its objects that the watches have not shown yet as they are now; without the kinds that are complete.

    Raises:
        ApiError: the API server does not answer.

    """
    found: Behind = {}
    for kind in kinds:
        version, listed = await api.names(kind)
        table = cluster.tables[kind]
        keys: dict[Key, int] = {key: at for key, at in listed.items() if (table.version(key) or 0) < at}
        ghosts = (key for key in table.known() - listed.keys() if (table.version(key) or 0) <= version)
        if keys := keys | dict.fromkeys(ghosts, GONE):
            found[kind] = keys
    return found


async def still_behind(api: Api, cluster: Cluster, before: Behind) -> Behind:
    """What has not been shown since: what changed meanwhile does not count, or there would be no end to it.

    Raises:
        ApiError: the API server does not answer.

    """
    unseen = {
        kind: left
        for kind, keys in before.items()
        if (left := {key: at for key, at in keys.items() if not _is_shown(cluster, kind, key, at)})
    }
    if sum(map(len, unseen.values())) < sum(map(len, before.values())):
        return unseen  # the watches are getting there: among 20,000 objects a list costs more than it tells
    now = await behind(api, cluster, unseen)
    return {
        kind: keys
        for kind, listed in now.items()
        if (keys := {key: at for key, at in unseen[kind].items() if key in listed})
    }


def _is_shown(cluster: Cluster, kind: Kind, key: Key, at: int) -> bool:
    version = cluster.tables[kind].version(key)
    return version is None if at == GONE else (version or 0) >= at


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
        for key in table.known() - listed.keys():
            if cluster.gone(kind, key, version):
                log.info("sweep.gone", kind=kind.kind, namespace=key[0], name=key[1])
