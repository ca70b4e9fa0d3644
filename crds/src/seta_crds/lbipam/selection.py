"""Which pools select which Services. Used by allocation.py, its only writer.

Most selectors name a label that a Service must have: such a pool is filed under it, and a Service is compared only with
the pools filed under its own labels, and with those whose selectors name none.
"""

from collections.abc import Iterable

from seta_crds.lbipam.pools import Pool
from seta_crds.lbipam.requests import Key, Request

Label = tuple[str, str]  # k8s:key, value


class Selection:
    def __init__(self) -> None:
        self.of_pool: dict[str, set[Key]] = {}  # pool -> services that it selects
        self.of_service: dict[Key, set[str]] = {}  # service -> pools that select it
        self._pools: dict[str, Pool] = {}  # name -> pool
        self._filed: dict[Label | None, set[str]] = {}  # label that is needed (None: none is) -> pools

    def put_pool(self, pool: Pool, requests: Iterable[Request]) -> None:
        """A pool is new or changed; `requests`: all there are."""
        self.drop_pool(pool.name)
        self._pools[pool.name] = pool
        for label in _needs(pool):
            self._filed.setdefault(label, set()).add(pool.name)
        self.of_pool[pool.name] = {one.key for one in requests if pool.selects(one.labels)}
        for key in self.of_pool[pool.name]:
            self.of_service.setdefault(key, set()).add(pool.name)

    def drop_pool(self, name: str) -> None:
        """A pool is gone, or was never there."""
        pool = self._pools.pop(name, None)
        for label in _needs(pool) if pool is not None else ():
            self._filed[label].discard(name)
            if not self._filed[label]:
                del self._filed[label]
        for key in self.of_pool.pop(name, ()):
            self.of_service[key].discard(name)

    def put(self, request: Request) -> None:
        """A Service is new, or has other labels."""
        self.drop(request.key)
        found = set(self._filed.get(None, ()))
        for label in request.labels.items():
            found |= self._filed.get(label, frozenset())
        selecting = {name for name in found if self._pools[name].selects(request.labels)}
        self.of_service[request.key] = selecting
        for name in selecting:
            self.of_pool[name].add(request.key)

    def drop(self, key: Key) -> None:
        """A Service is gone, or was never there."""
        for name in self.of_service.pop(key, ()):
            self.of_pool[name].discard(key)


def _needs(pool: Pool) -> list[Label | None]:
    """Labels of which a Service must have one for the pool to select it; None: it may have any."""
    if pool.selector is None:
        return []
    for one in pool.selector.requirements:
        if one.operator == "In" and one.source in {"any", "k8s"}:
            return [(f"k8s:{one.key}", value) for value in one.values]
    return [None]
