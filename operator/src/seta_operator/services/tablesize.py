"""Tells a Service that its table cannot be stored, in a condition of its status. Used by tables.py.

It is there only while that is so: of the others nothing is written. The log alone would not do: the Service seems well,
and its nodes go on with the backends of before.
"""

import asyncio
import datetime as dt
from collections.abc import Iterable

from seta_crds import names
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

SERVED = "seta.dev/Served"  # type of the condition
REASON = "TableTooLarge"
MESSAGE = (
    "Its ports and backends are more than one object can hold in the API server, so that nodes go on with those of "
    "before. Give it fewer ports, or split it: each port lists every backend."
)


class Size:
    """The condition of each Service whose table was to be written."""

    def __init__(self, cluster: Cluster, writer: Writer) -> None:
        self._cluster, self._writer = cluster, writer

    async def tell(self, keys: Iterable[Key], large: set[Key]) -> set[Key]:
        """Let these Services say whether their tables are too large; returns those that could not be told."""
        each = sorted(keys)
        done = await asyncio.gather(*(self._tell(key, key in large) for key in each))
        return {key for key, told in zip(each, done, strict=True) if not told}

    async def _tell(self, key: Key, large: bool) -> bool:  # noqa: FBT001
        service, version = self._cluster.services.get(key), self._cluster.services.version(key)
        if service is None or large == any(one["type"] == SERVED for one in service.conditions):
            return True
        conditions = [one for one in service.conditions if one["type"] != SERVED] + ([_condition()] if large else [])
        return await self._writer.status(names.SERVICE, key, {"conditions": conditions or None}, version)


def _condition() -> facts.JSON:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": SERVED, "status": "False", "reason": REASON, "message": MESSAGE, "lastTransitionTime": now}
