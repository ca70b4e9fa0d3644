"""One process's round of policy_scale: `python -m tests.bench.scale_run IDENTITIES POLICIES`; the last line is JSON."""

import asyncio
import dataclasses
import json
import logging
import os
import pathlib
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from seta_agent import tables
from seta_agent.desired import policy as desired
from seta_agent.watch import policies as rows
from seta_crds import labels, names
from seta_crds.names import Kind
from seta_operator.services.membership import Membership
from seta_operator.services.policy import Policy
from seta_operator.services.subject import Subject
from seta_operator.services.verdicts import Verdicts
from seta_operator.store.cluster import Cluster
from seta_operator.store.writer import Writer
from tests.bench import scale_objects as objects

JSON = dict[str, Any]
ENDPOINTS = 30  # pods of one node


class Memory:
    """Quacks like store.api.Api: takes everything at once."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str, str], JSON] = {}  # kind, namespace, name -> object
        self.version = self.writes = 0

    async def create(self, kind: Kind, body: JSON) -> JSON:
        self.writes += 1
        return self.put(kind, body)

    async def replace(self, kind: Kind, body: JSON) -> JSON:
        return await self.create(kind, body)

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        self.writes += 1
        del self.objects[kind, namespace, name]

    async def patch_status(
        self, kind: Kind, namespace: str, name: str, status: JSON, _version: int | None = None
    ) -> JSON:
        held = self.objects[kind, namespace, name]
        return await self.create(kind, {**held, "status": {**held.get("status", {}), **status}})

    def put(self, kind: Kind, body: JSON) -> JSON:
        self.version += 1
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        self.objects[kind, body["metadata"].get("namespace", ""), body["metadata"]["name"]] = body
        return body

    def of(self, kind: Kind) -> list[JSON]:
        return [body for (one, _, _), body in self.objects.items() if one == kind]


class Operator:
    """The operator's policy part on an API server of its own, or on that of the one before it."""

    def __init__(self, api: Memory) -> None:
        self.api, self.cluster = api, Cluster()
        self._writer = Writer(api, self.cluster)  # type: ignore[arg-type]  # quacks
        membership = Membership(self.cluster, labels.LabelFilter(), "default")
        self._verdicts = Verdicts(self.cluster, self._writer)
        self._policy = Policy(self.cluster, self._writer, membership, self._verdicts, grace=900)

    def seen(self, kind: Kind, body: JSON) -> None:
        self.cluster.seen(kind, self.api.put(kind, body))

    async def started(self) -> None:
        for (kind, _, _), body in list(self.api.objects.items()):
            self.cluster.seen(kind, body)
        self._policy.start()
        await self.settled()

    async def settled(self) -> None:
        for subject in (self._policy, self._verdicts):
            await _settle(subject)


async def _settle(subject: Subject[Any]) -> None:
    while subject._marked:
        keys, subject._marked = subject._marked, set()
        assert not await subject.apply(keys)


@dataclasses.dataclass
class Clock:
    """Steps, measured one after the other."""

    api: Memory
    steps: list[JSON] = dataclasses.field(default_factory=list)

    async def step(self, step: str, done: Callable[[], Awaitable[None]], goal: str = "") -> None:
        writes, memory, begin = self.api.writes, _resident(), time.process_time()
        await done()
        seconds, grown = time.process_time() - begin, _resident() - memory
        counted = self.api.writes - writes
        self.steps.append({"step": step, "seconds": seconds, "megabytes": grown, "writes": counted, "goal": goal})


def _resident() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


async def run(identities: int, policies: int) -> list[JSON]:
    api = Memory()
    operator = Operator(api)
    for body in objects.namespaces():
        operator.seen(names.NAMESPACE, body)
    clock = Clock(api)

    async def see(things: list[tuple[Kind, JSON]]) -> None:
        for kind, body in things:
            operator.seen(kind, body)
        await operator.settled()

    pods = [(names.POD, objects.pod(n)) for n in range(identities)]
    await clock.step("identities are given", lambda: see(pods), "< 10 s")
    written = [objects.policy(n) for n in range(policies)]
    await clock.step("policies are compiled, their sets filled", lambda: see(written), "< 10 s")
    await clock.step("one more pod of a known identity", lambda: see([(names.POD, _twin(objects.pod(0)))]))
    await clock.step("one more identity", lambda: see([(names.POD, objects.pod(identities))]))
    await clock.step("one policy changed", lambda: see([objects.policy(0, generation=2)]))
    await clock.step("the operator restarted", lambda: Operator(api).started(), "< 10 s")
    await clock.step(f"an agent: rows, and the policy maps of {ENDPOINTS} pods", lambda: _agent(api))
    return clock.steps


def _twin(pod: JSON) -> JSON:
    return {**pod, "metadata": {**pod["metadata"], "name": "twin"}}


async def _agent(api: Memory) -> None:
    """From the operator's objects to the entries of the policy maps of one node's pods."""
    found: list[tables.Policy] = [rows.policy(body) for body in api.of(names.COMPILED_POLICY)]
    sets = {body["metadata"]["name"]: frozenset(body["spec"]["identities"]) for body in api.of(names.SELECTOR_SET)}
    entries = 0
    for number in range(labels.MIN_IDENTITY, labels.MIN_IDENTITY + ENDPOINTS):
        ingress, egress = desired.select(found, number, sets)
        entries += len(desired.ingress(ingress, "default", sets, {}).entries)
        entries += len(desired.egress(egress, "default", sets, {}).entries)
    assert entries, "policies that select these pods give entries"


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    identities, policies = map(int, sys.argv[1:])
    print(json.dumps(asyncio.run(run(identities, policies))))


if __name__ == "__main__":
    main()
