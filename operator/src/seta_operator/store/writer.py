"""Makes an object be what is wanted: compares with what was last seen, and writes the difference.

Called by every service with (key -> wanted). Level-based: whether the object must be created, replaced or deleted
follows from the tables, and what the API server knows better (409, 404) corrects the tables and is tried again.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from seta_crds.names import Kind
from seta_operator.store import errors
from seta_operator.store.api import Api
from seta_operator.store.cluster import Cluster, key_of
from seta_operator.store.table import Key

JSON = dict[str, Any]
ATTEMPTS = 4  # of one write, each after the table was corrected
log = structlog.get_logger()


class Writer:
    """The only one that changes objects in the cluster."""

    def __init__(self, api: Api, cluster: Cluster) -> None:
        self._api = api
        self._cluster = cluster
        self.too_large: set[tuple[Kind, Key]] = set()  # what could not be stored when it was last to be written
        self.writes = 0  # requests that changed something, for the log and for tests

    async def ensure(self, kind: Kind, wanted: Mapping[Key, JSON | None]) -> set[Key]:
        """Make each object be its wanted content, or not be (None). Returns the keys that failed, already logged.

        Content is the object without apiVersion, kind and status; its metadata has labels, annotations and
        ownerReferences only.
        """
        self.too_large.difference_update((kind, key) for key in wanted)
        open_keys = [key for key, content in wanted.items() if not self._is(kind, key, content)]
        results = await asyncio.gather(*(self._ensure_one(kind, key, wanted[key]) for key in open_keys))
        return {key for key, done in zip(open_keys, results, strict=True) if not done}

    async def status(self, kind: Kind, key: Key, status: JSON, version: int | None = None) -> bool:
        """Merge into an object's status; whether it is done (an object that is gone needs none).

        With a version, only where nobody has written since: what others write there is then not overwritten unseen.
        The answer may hold a newer spec than anybody has seen, which the watch then shows as old news: it is told here.
        """
        try:
            self._cluster.seen(kind, await self._api.patch_status(kind, *key, status, version))
            self.writes += 1
        except errors.NotFoundError:
            return True
        except errors.ConflictError:
            log.debug("status.outdated", kind=kind.kind, namespace=key[0], name=key[1])
            return False
        except errors.ApiError as error:
            log.warning("status.failed", kind=kind.kind, namespace=key[0], name=key[1], error=str(error))
            return False
        return True

    async def refresh(self, kind: Kind, key: Key) -> bool:
        """Read an object as the API server has it now, and tell listeners what is news; whether there was an answer."""
        try:
            self._cluster.seen(kind, await self._api.read(kind, *key))
        except errors.NotFoundError:
            self._cluster.gone(kind, key)
        except errors.ApiError as error:
            log.info("read.failed", kind=kind.kind, namespace=key[0], name=key[1], error=str(error))
            return False
        return True

    async def read_all(self, kind: Kind, namespace: str) -> bool:
        """Have the table of a kind hold all there is now, whatever a watch has shown; whether there was an answer."""
        try:
            version, items = await self._api.listed(kind, namespace)
        except errors.ApiError as error:
            log.info("read.failed", kind=kind.kind, namespace=namespace, error=str(error))
            return False
        for item in items:
            self._cluster.seen(kind, item)
        for key in self._cluster.tables[kind].known() - {key_of(item) for item in items}:
            self._cluster.gone(kind, key, int(version))
        return True

    def _is(self, kind: Kind, key: Key, content: JSON | None) -> bool:
        held = self._cluster.owned(kind).get(key)
        return (None if held is None else held.content) == content

    async def _ensure_one(self, kind: Kind, key: Key, content: JSON | None) -> bool:
        error: errors.ApiError | None = None
        for _ in range(ATTEMPTS):
            if self._is(kind, key, content):
                return True
            try:
                await self._write(kind, key, content)
                self.writes += 1
            except errors.NotFoundError as caught:
                error = caught
                self._cluster.tables[kind].remove(key)
            except errors.ConflictError as caught:
                error = caught
                await self._correct(kind, key)
            except errors.ApiError as caught:
                error = caught
                if isinstance(caught, errors.TooLargeError):
                    self.too_large.add((kind, key))
                break
            else:
                log.debug("object.written", kind=kind.kind, namespace=key[0], name=key[1], deleted=content is None)
                return True
        log.warning("write.failed", kind=kind.kind, namespace=key[0], name=key[1], error=str(error))
        return False

    async def _write(self, kind: Kind, key: Key, content: JSON | None) -> None:
        table, version = self._cluster.owned(kind), self._cluster.owned(kind).version(key)
        if content is None:
            await self._api.delete(kind, *key)
            table.remove(key)
            return
        body = _body(kind, key, content)
        if version is None:
            answer = await self._api.create(kind, body)
        else:
            body["metadata"]["resourceVersion"] = str(version)
            answer = await self._api.replace(kind, body)
        self._cluster.wrote(kind, answer)

    async def _correct(self, kind: Kind, key: Key) -> None:
        """Read an object that is not what the table says."""
        try:
            self._cluster.wrote(kind, await self._api.read(kind, *key))
        except errors.NotFoundError:
            self._cluster.tables[kind].remove(key)
        except errors.ApiError as error:
            log.info("read.failed", kind=kind.kind, namespace=key[0], name=key[1], error=str(error))


def _body(kind: Kind, key: Key, content: JSON) -> JSON:
    namespace, name = key
    metadata = {"name": name, **content.get("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": kind.api_version, "kind": kind.kind, **content, "metadata": metadata}
