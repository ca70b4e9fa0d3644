"""Tells users about their policies: the conditions Valid and Enforced, in the policy's status.

The only one that writes conditions, because both live in one list. Policy.py says how a policy was compiled, once that
is written; agents say what they enforce, one NodePolicyStatus per node. A NetworkPolicy has no conditions: those of
its CompiledPolicy stand for it.
"""

import asyncio
import datetime as dt
import time

from seta_crds import conditions, names
from seta_crds.names import Kind
from seta_operator.services import enforcement, problems
from seta_operator.services.compiled import Compiled
from seta_operator.services.subject import Subject
from seta_operator.store.cluster import Cluster
from seta_operator.store.facts import JSON
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

Source = tuple[Kind, Key]
PATIENCE = 5.0  # seconds that nodes may take before it is told again which have not got there


class Verdicts(Subject[Source]):
    """Marked with policies."""

    name = "verdicts"
    delay = 0.02  # nodes report about many policies at once

    def __init__(self, cluster: Cluster, writer: Writer) -> None:
        super().__init__()
        self._cluster, self._writer = cluster, writer
        self._judged: dict[Source, tuple[str, Compiled]] = {}  # policy -> its CompiledPolicy, and how it was compiled
        self._source: dict[str, Source] = {}  # CompiledPolicy -> policy
        self._waiting: dict[Source, float] = {}  # policy that not all nodes enforce -> when that was noticed, or told
        cluster.listen(names.NODE_POLICY_STATUS, self._reported)
        cluster.listen(names.NODE, self._node_changed)

    def start(self) -> None:
        """Nothing was decided before: policy.py judges every policy."""

    def judge(self, source: Source, compiled_name: str, compiled: Compiled) -> None:
        """A policy was compiled so, and is written."""
        self._judged[source] = compiled_name, compiled
        self._source[compiled_name] = source
        self.mark(source)

    def forget(self, source: Source) -> None:
        """A policy is no more."""
        name, _ = self._judged.pop(source, ("", None))
        self._source.pop(name, None)
        self._waiting.pop(source, None)

    async def apply(self, keys: set[Source]) -> set[Source]:
        """Write the conditions of these policies, where they are others."""
        living = [source for source in keys if source in self._judged]
        done = await asyncio.gather(*(self._tell(source) for source in living))
        return {source for source, told in zip(living, done, strict=True) if not told}

    def _reported(self, _key: Key, before: dict[str, int] | None, after: dict[str, int] | None) -> None:
        for name, _ in (before or {}).items() ^ (after or {}).items():
            if name in self._source:
                self.mark(self._source[name])

    def _node_changed(self, _key: Key, before: object | None, after: object | None) -> None:
        if before is None or after is None:
            for source in self._judged:
                self.mark(source)

    async def _tell(self, source: Source) -> bool:
        policy = self._cluster.policies(source[0]).get(source[1])
        if policy is None or source not in self._judged:
            return True
        name, compiled = self._judged[source]
        target, before = source, policy.conditions
        if source[0] == names.K8S_NETWORK_POLICY:
            written = self._cluster.owned(names.COMPILED_POLICY).get(("", name))
            target, before = (names.COMPILED_POLICY, ("", name)), written.conditions if written else []
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        valid = problems.condition(compiled.problems, len(compiled.rules), before, now)
        enforced = self._enforced(source, name, policy.generation, before, now)
        others = [one for one in before if one["type"] != enforcement.ENFORCED]
        told = conditions.merged(others, [valid, *([enforced] if enforced else [])])
        return told == before or await self._writer.status(*target, {"conditions": told})

    def _enforced(self, source: Source, name: str, generation: int, before: list[JSON], now: str) -> JSON | None:
        """The condition Enforced; while nodes are getting there, as it was told last."""
        nodes = {node for _, node in self._cluster.nodes.known()}
        reports = {node: report.get(name) for (_, node), report in self._cluster.reports.items()}
        missing = sorted(node for node in nodes if reports.get(node) != generation)
        found = enforcement.condition(len(nodes), missing, generation, before, now)
        held = next((one for one in before if one["type"] == enforcement.ENFORCED), None)
        if found is None or not missing or held is None or not enforcement.is_about(held, generation):
            self._waiting.pop(source, None)
            return found
        return found if found == held or self._is_due(source) else held

    def _is_due(self, source: Source) -> bool:
        """Whether nodes had their time; else it is looked at again then."""
        now = time.monotonic()
        since = self._waiting.setdefault(source, now)
        if now - since >= PATIENCE:
            self._waiting[source] = now
            return True
        asyncio.get_running_loop().call_later(since + PATIENCE - now, self.mark, source)
        return False
