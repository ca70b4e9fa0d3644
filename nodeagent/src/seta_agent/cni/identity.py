"""Which identity a pod has, and when an endpoint may have it.

Used by ADD (`resolve`) and by the follower below, which gives live endpoints a new identity when their pod's labels
change. The barrier: an identity is handed out only when every selector set that was recorded with it has been seen to
contain it, so that a new pod is never briefly outside of the policies that select it.
"""

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from seta_agent.cni.endpoints import EndpointStore
from seta_agent.cni.errors import CniError, Code
from seta_agent.cni.request import PodRef
from seta_agent.kube import KubeClient, KubeError
from seta_agent.signals import Signal
from seta_agent.tables import Endpoint, Identity, Pod, Tables
from seta_crds import labels as identity_labels
from seta_crds import names

log = structlog.get_logger()

BARRIER_SECONDS = 10.0  # for a live endpoint's change; then it is tried again with the next change
RETRY_SECONDS = 0.5  # between attempts to read a set while the API server does not answer
COALESCE_SECONDS = 0.02  # changes come in bursts


class IdentityIndex:
    """Identity by its label set, kept up to date with the table; the lowest id wins."""

    def __init__(self, tables: Tables) -> None:
        self._identities = tables.identities
        self._ids: dict[frozenset[str], set[int]] = {}  # labels -> ids
        self._labels: dict[int, frozenset[str]] = {}  # id -> labels under which it is in _ids
        tables.identities.subscribe(self._changed)
        for number in tables.identities.keys():  # noqa: SIM118 - a table iterates over rows
            self._changed(number)

    def find(self, wanted: frozenset[str]) -> Identity | None:
        ids = self._ids.get(wanted)
        return self._identities.get(min(ids)) if ids else None

    def _changed(self, number: int) -> None:
        former = self._labels.pop(number, None)
        if former is not None:
            self._ids[former].discard(number)
            if not self._ids[former]:
                del self._ids[former]
        row = self._identities.get(number)
        if row is not None:
            self._labels[number] = row.labels
            self._ids.setdefault(row.labels, set()).add(number)


class IdentityResolver:
    """Pod → identity, with the barrier."""

    def __init__(
        self, tables: Tables, client: KubeClient, cluster: str, label_filter: identity_labels.LabelFilter
    ) -> None:
        self._tables = tables
        self._client = client
        self._cluster = cluster
        self._filter = label_filter
        self._index = IdentityIndex(tables)
        self._signal = Signal(tables.pods, tables.namespaces, tables.identities, tables.selector_sets)
        self._settled: set[tuple[int, str]] = set()  # (identity, set) that were read to be unrelated by now

    async def resolve(self, ref: PodRef, seconds: float) -> tuple[Pod, Identity]:
        """For a new pod: waits for its row, identity and barrier. Raises CniError 11, saying what is missing."""
        missing = "its pod is not known to this node's agent yet"
        try:
            async with asyncio.timeout(seconds):
                await self._signal.until(lambda: self._pod(ref), seconds)
                missing = "the operator has not given its labels an identity yet"
                pod, identity = await self._signal.until(lambda: self._pod_and_identity(ref), seconds)
                missing = "the policies that select it have not arrived yet"
                await self.pass_barrier(identity)
        except TimeoutError:
            raise CniError(Code.TRY_AGAIN, f"pod {ref.namespace}/{ref.name} has to wait: {missing}") from None
        return pod, identity

    def of_pod(self, pod: Pod) -> Identity | None:
        """The identity that the pod's labels ask for; None while it or the namespace is not known."""
        namespace_labels = self._tables.namespaces.get(pod.namespace)
        if namespace_labels is None:
            return None
        wanted = identity_labels.identity_labels(
            pod.labels,
            pod.namespace,
            namespace_labels,
            pod.service_account,
            self._cluster,
            self._filter,
            pod.named_ports,
        )
        return self._index.find(frozenset(identity_labels.as_list(wanted)))

    async def pass_barrier(self, identity: Identity) -> None:
        """Until every recorded selector set contains the identity or is known not to. The caller sets a limit."""
        for name in identity.selector_sets:
            while not self._passes(identity.id, name):
                if not await self._read_set(identity.id, name):
                    await self._watch_brings(identity.id, name)

    def passes(self, identity: Identity) -> bool:
        """Whether it needs no waiting."""
        return all(self._passes(identity.id, name) for name in identity.selector_sets)

    def _passes(self, number: int, name: str) -> bool:
        row = self._tables.selector_sets.get(name)
        return (row is not None and number in row.identities) or (number, name) in self._settled

    async def _read_set(self, number: int, name: str) -> bool:
        """Reads the set once from the API server. True where it turns out to be unrelated to the identity by now."""
        try:
            item = await self._client.get(names.SELECTOR_SET.path(name=name))
            related = number in ((item.get("spec") or {}).get("identities") or ())
        except KubeError as error:
            if not error.gone:
                log.info("selector_set_unreadable", selector_set=name, error=str(error))
                return False
            related = False
        if not related:
            self._settled.add((number, name))
        return not related

    async def _watch_brings(self, number: int, name: str) -> None:
        """Until the watch has the set as well, or until it is time to ask again."""
        with contextlib.suppress(TimeoutError):
            await self._signal.until(lambda: True if self._passes(number, name) else None, RETRY_SECONDS)

    def _pod(self, ref: PodRef) -> Pod | None:
        pod = self._tables.pods.get((ref.namespace, ref.name))
        return pod if pod is not None and ref.uid in ("", pod.uid, pod.runtime_uid) else None

    def _pod_and_identity(self, ref: PodRef) -> tuple[Pod, Identity] | None:
        pod = self._pod(ref)
        identity = self.of_pod(pod) if pod is not None else None
        return (pod, identity) if pod is not None and identity is not None else None


class IdentityFollower:
    """Gives live endpoints the identity their pod's labels ask for now. `run` is one task of `main`."""

    def __init__(self, tables: Tables, store: EndpointStore, resolver: IdentityResolver) -> None:
        self._tables = tables
        self._store = store
        self._resolver = resolver
        self._signal = Signal(tables.pods, tables.namespaces, tables.identities, tables.endpoints)

    async def run(self) -> None:
        while True:
            await self.step()
            await self._signal.wait()
            await asyncio.sleep(COALESCE_SECONDS)

    async def step(self) -> None:
        """One look at every endpoint; those that change do so side by side."""
        await asyncio.gather(*(self._move(*change) for change in self._changes()))

    def _changes(self) -> Iterator[tuple[Endpoint, Pod, Identity]]:
        for endpoint in self._tables.endpoints:
            pod = self._tables.pods.get((endpoint.namespace, endpoint.pod))
            if pod is None or pod.uid != endpoint.pod_uid:  # of another pod of that name: this one is on its way out
                continue
            identity = self._resolver.of_pod(pod)
            if identity is not None and self._store.identified(endpoint, identity, pod) != endpoint:
                yield endpoint, pod, identity

    async def _move(self, endpoint: Endpoint, pod: Pod, identity: Identity) -> None:
        try:
            async with asyncio.timeout(BARRIER_SECONDS):
                await self._resolver.pass_barrier(identity)
        except TimeoutError:
            log.warning("identity_change_waits", endpoint=endpoint.id, identity=identity.id)
            self._signal.fire()
            return
        self._store.identify(endpoint.id, identity, pod)
        log.info("identity_changed", endpoint=endpoint.id, before=endpoint.identity, identity=identity.id)
