"""An API server in a dictionary, with versions, conflicts and failures; and a cluster fed by hand."""

import copy
from collections.abc import Callable
from typing import Any

from seta_crds import labels
from seta_crds.names import Kind
from seta_operator.services.addresses import PodCIDRs
from seta_operator.services.membership import Membership
from seta_operator.services.nodes import Nodes
from seta_operator.services.policy import Policy
from seta_operator.services.policywrites import Source
from seta_operator.services.subject import Subject
from seta_operator.services.verdicts import Verdicts
from seta_operator.store import errors
from seta_operator.store.cluster import Cluster
from seta_operator.store.writer import Writer

JSON = dict[str, Any]
Call = tuple[str, str, str]  # verb, kind, name


class FakeApi:
    """Quacks like store.api.Api."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str, str], JSON] = {}  # kind, namespace, name -> object
        self.calls: list[Call] = []
        self.may_write: Callable[[], bool] = lambda: True
        self.fail: Callable[[Call], errors.ApiError | None] = lambda _call: None
        self._version = 1000

    async def read(self, kind: Kind, namespace: str, name: str) -> JSON:
        self._note("get", kind, name)
        return self._held(kind, namespace, name)

    async def names(self, kind: Kind) -> tuple[int, dict[tuple[str, str], int]]:
        return self._version, {
            (namespace, name): int(body["metadata"]["resourceVersion"])
            for (one, namespace, name), body in self.objects.items()
            if one == kind
        }

    async def listed(self, kind: Kind, namespace: str) -> tuple[str, list[JSON]]:
        found = [body for (one, place, _), body in self.objects.items() if one == kind and namespace in ("", place)]
        return str(self._version), copy.deepcopy(found)

    async def create(self, kind: Kind, body: JSON) -> JSON:
        meta = body["metadata"]
        self._note("create", kind, meta["name"])
        if (kind, meta.get("namespace", ""), meta["name"]) in self.objects:
            raise errors.ConflictError("exists")
        return self.put(kind, body)

    async def replace(self, kind: Kind, body: JSON) -> JSON:
        meta = body["metadata"]
        self._note("update", kind, meta["name"])
        held = self._held(kind, meta.get("namespace", ""), meta["name"])
        if held["metadata"]["resourceVersion"] != meta["resourceVersion"]:
            raise errors.ConflictError("newer")
        return self.put(kind, {**body, **({"status": held["status"]} if "status" in held else {})})

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        self._note("delete", kind, name)
        self._held(kind, namespace, name)
        del self.objects[kind, namespace, name]

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, status: JSON, version: int | None = None
    ) -> JSON:
        self._note("patch", kind, name)
        held = self._held(kind, namespace, name)
        if version is not None and held["metadata"]["resourceVersion"] != str(version):
            raise errors.ConflictError("newer")
        return self.put(kind, {**held, "status": {**(held.get("status") or {}), **status}})

    def put(self, kind: Kind, body: JSON) -> JSON:
        """Store it as somebody else would, with a new version."""
        self._version += 1
        body = copy.deepcopy(body)
        body["metadata"]["resourceVersion"] = str(self._version)
        self.objects[kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]] = body
        return copy.deepcopy(body)

    def of(self, kind: Kind) -> dict[str, JSON]:
        """Name -> object."""
        return {name: body for (one, _, name), body in self.objects.items() if one == kind}

    def _note(self, verb: str, kind: Kind, name: str) -> None:
        if verb != "get" and not self.may_write():
            raise errors.NotLeadingError("not leading")
        call = (verb, kind.kind, name)
        self.calls.append(call)
        error = self.fail(call)
        if error is not None:
            raise error

    def _held(self, kind: Kind, namespace: str, name: str) -> JSON:
        if (kind, namespace, name) not in self.objects:
            raise errors.NotFoundError(name)
        return copy.deepcopy(self.objects[kind, namespace, name])


class Bench:
    """A cluster, its fake API server and the writer between them; `seen` and `gone` are what a watch would say."""

    def __init__(self) -> None:
        self.api, self.cluster = FakeApi(), Cluster()
        self.writer = Writer(self.api, self.cluster)  # type: ignore[arg-type]  # quacks

    def use(self, api: FakeApi) -> None:
        """Another API server, before anything is in it."""
        self.api = api
        self.writer = Writer(api, self.cluster)  # type: ignore[arg-type]  # quacks

    def seen(self, kind: Kind, name: str, namespace: str = "", /, **body: Any) -> JSON:
        meta = {"name": name, **({"namespace": namespace} if namespace else {}), **body.pop("metadata", {})}
        stored = self.api.put(kind, {"kind": kind.kind, "metadata": meta, **body})
        self.cluster.seen(kind, stored)
        return stored

    def gone(self, kind: Kind, name: str, namespace: str = "") -> None:
        self.api.objects.pop((kind, namespace, name), None)
        self.cluster.gone(kind, (namespace, name))


async def settle(subject: Subject[Any], rounds: int = 10) -> set[Any]:
    """Apply what is marked until nothing is; returns what still fails after the rounds."""
    failed: set[Any] = set()
    for _ in range(rounds):
        keys = subject._marked | failed
        subject._marked = set()
        if not keys:
            break
        failed = await subject.apply(keys)
    return failed


class Subjects:
    """Policies, their verdicts and nodes, as app.py puts them together."""

    def __init__(self, bench: Bench, grace: float = 900, *, cidrs_match_nodes: bool = False) -> None:
        own_labels = labels.LabelFilter()
        self.membership = Membership(bench.cluster, own_labels, "default", cidrs_match_nodes=cidrs_match_nodes)
        self.verdicts = Verdicts(bench.cluster, bench.writer)
        own = (bench.cluster, bench.writer, self.membership, self.verdicts)
        self.policy = Policy(*own, grace=grace, host_firewall=True)
        self.nodes = Nodes(bench.cluster, bench.writer, PodCIDRs(["10.0.0.0/16"], 24), self.membership.nodes)

    def start(self) -> None:
        self.policy.start()
        self.nodes.start()

    def mark(self, source: Source) -> None:
        self.policy.mark(source)


async def settle_all(it: Subjects) -> set[Any]:
    """Settle every subject, each after those that it hears of; returns what policies have left."""
    left = await settle(it.policy)
    await settle(it.nodes)
    return left | await settle(it.verdicts)


class Sight:
    """What a reflector tells its watcher."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def lost(self) -> None:
        self.told.append("lost")

    def found(self) -> None:
        self.told.append("found")
