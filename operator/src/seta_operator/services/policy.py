"""Identities and policies: one subject, because selector sets tie them together and the order of writes matters.

    pods -> identities ---.
                          +--> selector sets
    policies -> rules ----'
    written as: (1) sets (2) identities (3) policies (4) sets nobody refers to any more (5) conditions

A set is written before the identity that it newly contains and before the policy that refers to it, so that no
agent sees a pod that its policy does not select yet, or a policy whose peers it does not know. Writes that fail
hold back only what depends on them.
"""

import asyncio
import datetime as dt
import time
from collections import defaultdict

import structlog

from seta_crds import labels, names
from seta_crds.names import Kind
from seta_operator.services import identities, problems, wanted
from seta_operator.services.compiled import Compiled
from seta_operator.services.compiler import compile_policy
from seta_operator.services.numbers import ExhaustedError
from seta_operator.services.selectorsets import SelectorSets
from seta_operator.services.subject import Subject
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster, Listener
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

Change = tuple[Kind, Key]
POLICIES = (names.NETWORK_POLICY, names.CLUSTERWIDE_NETWORK_POLICY)
WRITTEN = (names.SELECTOR_SET, names.IDENTITY, names.COMPILED_POLICY)
COLLECT: Change = (names.IDENTITY, ("", ""))  # not an object: time to look for unused identities
log = structlog.get_logger()


class Policy(Subject[Change]):
    """Marked with kind and key of what changed."""

    name = "policy"

    def __init__(
        self, cluster: Cluster, writer: Writer, label_filter: labels.LabelFilter, cluster_name: str, grace: float
    ) -> None:
        """`grace`: seconds an identity is kept after its last use."""
        super().__init__()
        self._cluster, self._writer, self._grace = cluster, writer, grace
        self._filter, self._cluster_name = label_filter, cluster_name
        self._identities = identities.Identities()
        self._sets = SelectorSets(identities.universe(self._identities))
        self._compiled: dict[Change, Compiled] = {}  # policy -> as compiled
        self._pods: dict[str, set[Key]] = defaultdict(set)  # namespace -> its pods
        self._open: dict[Kind, set[Key]] = {kind: set() for kind in (*WRITTEN, *POLICIES)}  # kind -> to be written
        cluster.listen(names.POD, self._pod_changed)
        for kind in (names.NAMESPACE, *POLICIES, *WRITTEN):
            cluster.listen(kind, self._marker(kind))

    def start(self) -> None:
        """Claim the identities that are written, or that endpoints have; then look at everything."""
        for number, label_set in wanted.given(self._cluster):
            if self._identities.labels(number) is None and not self._identities.restore(number, label_set):
                log.warning("identity.odd", identity=number)
        for key in self._cluster.pods.known():
            self._pods[key[0]].add(key)
        for kind in (names.POD, *POLICIES, *WRITTEN):
            for key in self._cluster.tables[kind].known():
                self.mark((kind, key))
        for number in self._identities.numbers():
            self.mark((names.IDENTITY, ("", str(number))))

    async def collect_for_ever(self) -> None:
        """Have unused identities looked for, four times per grace period."""
        while True:
            await asyncio.sleep(max(self._grace / 4, 0.25))
            self.mark(COLLECT)

    async def apply(self, keys: set[Change]) -> set[Change]:
        """Decide, then write in order; returns what is still open."""
        for kind in POLICIES:  # before pods: an identity's annotation then names the new sets too
            for change in sorted(change for change in keys if change[0] == kind):
                self._decide_policy(change)
        self._decide_pods({key for kind, key in keys if kind == names.POD} | self._pods_of_namespaces(keys))
        if COLLECT in keys:
            self._collect()
        for kind, key in keys - {COLLECT}:
            if kind in WRITTEN:
                self._open[kind].add(key)
        await self._write()
        return {(kind, key) for kind, held in self._open.items() for key in held}

    # What is wanted.

    def _marker(self, kind: Kind) -> Listener:
        return lambda key, _before, _after: self.mark((kind, key))

    def _pod_changed(self, key: Key, _before: facts.Pod | None, after: facts.Pod | None) -> None:
        if after is None:
            self._pods[key[0]].discard(key)
        else:
            self._pods[key[0]].add(key)
        self.mark((names.POD, key))

    def _pods_of_namespaces(self, keys: set[Change]) -> set[Key]:
        return {pod for kind, (_, name) in keys if kind == names.NAMESPACE for pod in self._pods.get(name, ())}

    def _decide_pods(self, pods: set[Key]) -> None:
        for key in sorted(pods):
            pod, namespace = self._cluster.pods.get(key), self._cluster.namespaces.get(("", key[0]))
            if pod is None or not pod.on_network:
                self._identities.forget(key)
            elif namespace is not None:  # else its namespace's event will bring it here again
                own = (pod.labels, key[0], namespace, pod.service_account, self._cluster_name)
                self._assign(key, labels.identity_labels(*own, self._filter))

    def _assign(self, key: Key, label_set: dict[str, str]) -> None:
        try:
            fresh = self._identities.assign(key, identities.canonical(label_set))
        except ExhaustedError as error:
            log.warning("identity.exhausted", namespace=key[0], name=key[1], error=str(error))
            return
        if fresh is not None:
            log.info("identity.allocated", identity=fresh, namespace=key[0], pod=key[1])
            self._open[names.IDENTITY].add(("", str(fresh)))
            self._open[names.SELECTOR_SET] |= {("", name) for name in self._sets.add(fresh, label_set)}

    def _collect(self) -> None:
        in_use = (endpoint.identity for _, endpoint in self._cluster.endpoints.items())
        for number in self._identities.collect(in_use, time.monotonic(), self._grace):
            log.info("identity.collected", identity=number)
            self._open[names.IDENTITY].add(("", str(number)))
            self._open[names.SELECTOR_SET] |= {("", name) for name in self._sets.remove(number)}

    def _decide_policy(self, change: Change) -> None:
        kind, key = change
        policy, name = self._cluster.policies(kind).get(key), wanted.policy_name(kind, key)
        before = self._compiled.pop(change, None)
        if policy is not None:
            self._compiled[change] = compile_policy(key[0], policy.spec, policy.specs)
        after = self._compiled.get(change)
        touched = self._sets.use(name, after.selectors if after else {})
        self._open[names.SELECTOR_SET] |= {("", one) for one in touched}
        self._open[names.COMPILED_POLICY].add(("", name))
        self._open[kind].add(key)
        if after is not None and after.problems and (before is None or before.problems != after.problems):
            told = [problem.sentence for problem in after.problems]
            log.warning("policy.problems", kind=kind.kind, namespace=key[0], name=key[1], problems=told)

    # What is written.

    async def _write(self) -> None:
        wanted_sets = {key: self._sets.content(key[1]) for key in self._open[names.SELECTOR_SET]}
        await self._ensure(names.SELECTOR_SET, {key: one for key, one in wanted_sets.items() if one is not None})
        missing = {name for _, name in self._open[names.SELECTOR_SET] if self._sets.content(name) is not None}
        await self._ensure(names.IDENTITY, self._wanted_identities(missing))
        await self._ensure(names.COMPILED_POLICY, self._wanted_policies(missing))
        if not self._open[names.COMPILED_POLICY]:  # a policy not written yet may still refer to a set
            await self._ensure(names.SELECTOR_SET, {key: one for key, one in wanted_sets.items() if one is None})
        for kind in POLICIES:
            await asyncio.gather(*(self._tell(kind, key) for key in sorted(self._open[kind])))

    async def _ensure(self, kind: Kind, content: dict[Key, facts.JSON | None]) -> None:
        failed = await self._writer.ensure(kind, content)
        self._open[kind] -= content.keys() - failed

    def _wanted_identities(self, missing: set[str]) -> dict[Key, facts.JSON | None]:
        """Open identities, but for those that belong into a set not written yet."""
        result: dict[Key, facts.JSON | None] = {}
        for key in self._open[names.IDENTITY]:
            number = int(key[1]) if key[1].isdecimal() else 0
            label_set, sets = self._identities.labels(number), self._sets.containing(number)
            if label_set is None or not missing.intersection(sets):
                held = self._cluster.identities.get(key)
                result[key] = None if label_set is None else wanted.identity(label_set, sets, held)
        return result

    def _wanted_policies(self, missing: set[str]) -> dict[Key, facts.JSON | None]:
        """Open policies, but for those that refer to a set not written yet."""
        by_name = {wanted.policy_name(kind, key): (kind, key) for kind, key in self._compiled}
        result: dict[Key, facts.JSON | None] = {}
        for key in self._open[names.COMPILED_POLICY]:
            change = by_name.get(key[1])
            if change is None:
                result[key] = None
                continue
            compiled, policy = self._compiled[change], self._cluster.policies(change[0]).get(change[1])
            if policy is not None and not missing.intersection(compiled.selectors):
                result[key] = wanted.policy(change[0], change[1], policy, compiled)
        return result

    async def _tell(self, kind: Kind, key: Key) -> None:
        """Write the condition Valid, once the policy itself is written."""
        policy, compiled = self._cluster.policies(kind).get(key), self._compiled.get((kind, key))
        if policy is None or compiled is None:
            self._open[kind].discard(key)
            return
        if ("", wanted.policy_name(kind, key)) in self._open[names.COMPILED_POLICY]:
            return
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        valid = problems.condition(compiled.problems, len(compiled.rules), policy.conditions, now)
        if valid in policy.conditions or await self._writer.status(
            kind, key, {"conditions": problems.merged(policy.conditions, valid)}
        ):
            self._open[kind].discard(key)
