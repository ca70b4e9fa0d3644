"""Identities and policies: one subject, because selector sets tie them together and the order of writes matters.

    pods, address ranges, nodes -> identities ---.
                                                 +--> selector sets
    policies -> rules ---------------------------'

What changed is told to `membership` and the compiler; what they touched is written by `policywrites`, which knows the
order; what is to be told to users goes to `verdicts`.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable

import structlog

from seta_crds import names
from seta_crds.names import Kind
from seta_operator.services import apiserver, compile_networkpolicy, compiler, wanted
from seta_operator.services.compiled import Compiled
from seta_operator.services.membership import Membership
from seta_operator.services.policywrites import WRITTEN, Source, Writes
from seta_operator.services.setspec import GroupSet, ServiceSet, SetSpec
from seta_operator.services.subject import Subject
from seta_operator.services.verdicts import Verdicts
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster, Listener
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

POLICIES = (names.NETWORK_POLICY, names.CLUSTERWIDE_NETWORK_POLICY, names.K8S_NETWORK_POLICY)
SURROUNDINGS = (names.NODE, names.CIDR_GROUP)
COLLECT: Source = (names.IDENTITY, ("", ""))  # not an object: time to look for unused identities
log = structlog.get_logger()


class Policy(Subject[Source]):
    """Marked with kind and key of what changed."""

    name = "policy"

    def __init__(
        self,
        cluster: Cluster,
        writer: Writer,
        membership: Membership,
        verdicts: Verdicts,
        *,
        grace: float,
        host_firewall: bool = False,
    ) -> None:
        """`grace`: seconds an identity is kept after its last use; `host_firewall`: whether nodes have policies."""
        super().__init__()
        self._cluster, self._membership, self._verdicts = cluster, membership, verdicts
        self._grace, self._host_firewall = grace, host_firewall
        self._compiled: dict[Source, Compiled] = {}  # policy -> as compiled
        self._writes = Writes(cluster, writer, membership, self._compiled)
        self._pods: dict[str, set[Key]] = defaultdict(set)  # namespace -> its pods
        cluster.listen(names.POD, self._pod_changed)
        for kind in (names.NAMESPACE, *SURROUNDINGS, *POLICIES, *WRITTEN):
            cluster.listen(kind, self._marker(kind))
        cluster.listen(names.SERVICE, self._service_changed)
        cluster.listen(names.ENDPOINT_SLICE, self._slice_changed)

    def start(self) -> None:
        """Take over the numbers that were given, then look at everything."""
        self._membership.restore()
        for key in self._cluster.pods.known():
            self._pods[key[0]].add(key)
        for kind in (names.POD, names.NODE, *POLICIES, *WRITTEN):
            for key in self._cluster.tables[kind].known():
                self.mark((kind, key))
        self.mark((names.ENDPOINT_SLICE, apiserver.SLICE))

    async def collect_for_ever(self) -> None:
        """Have unused identities looked for, four times per grace period."""
        while True:
            await asyncio.sleep(max(self._grace / 4, 0.25))
            self.mark(COLLECT)

    async def apply(self, keys: set[Source]) -> set[Source]:
        """Decide, then write in order; returns what is still open."""
        marked: dict[Kind, set[Key]] = defaultdict(set)
        for kind, key in keys - {COLLECT}:
            marked[kind].add(key)
        self._decide_surroundings(marked)
        for kind in POLICIES:  # before pods: an identity's annotation then names the new sets too
            for key in sorted(marked[kind]):
                self._decide_policy((kind, key))
        namespaces = (self._pods.get(name, set()) for _, name in marked[names.NAMESPACE])
        for key in sorted(marked[names.POD].union(*namespaces)):
            self._membership.pod(key)
        if COLLECT in keys:
            self._membership.collect(time.monotonic(), self._grace)
        self._writes.open({kind: marked[kind] for kind in (*WRITTEN, *POLICIES)})
        self._writes.open(self._judged_in(marked[names.COMPILED_POLICY]))
        for source in await self._writes.write():
            self._verdicts.judge(source, wanted.policy_name(*source), self._compiled[source])
        return self._writes.left()

    # What changed.

    def _marker(self, kind: Kind) -> Listener:
        return lambda key, _before, _after: self.mark((kind, key))

    def _pod_changed(self, key: Key, _before: facts.Pod | None, after: facts.Pod | None) -> None:
        (self._pods[key[0]].discard if after is None else self._pods[key[0]].add)(key)
        self.mark((names.POD, key))

    def _service_changed(self, key: Key, _before: facts.Service | None, _after: facts.Service | None) -> None:
        if self._membership.speaks_of_services():
            self.mark((names.SERVICE, key))

    def _slice_changed(self, key: Key, before: facts.EndpointSlice | None, after: facts.EndpointSlice | None) -> None:
        if key == apiserver.SLICE:
            self.mark((names.ENDPOINT_SLICE, key))
        for one in (before, after):
            if one is not None and one.service:
                self._service_changed((key[0], one.service), None, None)

    # What is wanted.

    def _decide_surroundings(self, marked: dict[Kind, set[Key]]) -> None:
        """What sets that exist already are resolved by; new ones are resolved when they are made."""
        if marked[names.NODE]:
            self._membership.node(name for _, name in marked[names.NODE])
            self._writes.open({names.COMPILED_POLICY: {_name(source) for source in self._of_nodes()}})
        if marked[names.ENDPOINT_SLICE]:
            self._membership.api_server()
        if marked[names.CIDR_GROUP]:
            self._membership.surrounding(lambda spec: isinstance(spec, GroupSet))
        if marked[names.SERVICE]:
            self._membership.surrounding(_about(marked[names.SERVICE]))

    def _judged_in(self, changed: set[Key]) -> dict[Kind, set[Key]]:
        """The NetworkPolicies whose verdict is in these: who makes one anew loses what was told."""
        kind = names.K8S_NETWORK_POLICY
        return {kind: {key for one, key in self._compiled if one == kind and changed and _name((one, key)) in changed}}

    def _of_nodes(self) -> list[Source]:
        return [source for source, compiled in self._compiled.items() if compiled.nodes]

    def _decide_policy(self, source: Source) -> None:
        kind, key = source
        policy = self._cluster.policies(kind).get(key)
        before = self._compiled.pop(source, None)
        if policy is not None:
            self._compiled[source] = self._compile(kind, key, policy)
        else:
            self._verdicts.forget(source)
        after = self._compiled.get(source)
        self._membership.policy(wanted.policy_name(kind, key), after.specs if after else {})
        self._writes.open({names.COMPILED_POLICY: {_name(source)}})
        if after is not None and after.problems and (before is None or before.problems != after.problems):
            told = [problem.sentence for problem in after.problems]
            log.warning("policy.problems", kind=kind.kind, namespace=key[0], name=key[1], problems=told)

    def _compile(self, kind: Kind, key: Key, policy: facts.Policy) -> Compiled:
        if kind == names.K8S_NETWORK_POLICY:
            return compile_networkpolicy.compile_policy(key[0], policy.spec)
        return compiler.compile_policy(key[0], policy.spec, policy.specs, host_firewall=self._host_firewall)


def _name(source: Source) -> Key:
    return "", wanted.policy_name(*source)


def _about(services: set[Key]) -> Callable[[SetSpec], bool]:
    """Whether a set is of what stands behind any of these services, or may be."""
    namespaces = {namespace for namespace, _ in services} | {""}
    return lambda spec: isinstance(spec, ServiceSet) and spec.namespace in namespaces
