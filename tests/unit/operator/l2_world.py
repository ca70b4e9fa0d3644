"""A cluster of nodes whose agents renew their heartbeats, a clock that tests move, and the subject between them.

The agents here do what agents do (seta_agent.l2): renew, and answer until the deadline; one whose deadline has passed
reads its list after the renewal, before it answers again.
"""

import datetime as dt
import json
from typing import Any

from seta_crds import names
from seta_crds.names import Kind
from seta_operator.services.l2 import L2
from seta_operator.store import errors
from tests.unit.operator.fakes import Bench, FakeApi, settle

JSON = dict[str, Any]
WRITTEN = (names.LEASE, names.NODE_ANNOUNCEMENTS)  # by agents and by the subject
NAMESPACE = "kube-system"
DURATION, DEADLINE, RETRY = 15.0, 5.0, 2.0


class GenerationApi(FakeApi):
    """With uids, and generations that count specs."""

    made = 0

    def put(self, kind: Any, body: JSON) -> JSON:
        meta = body["metadata"]
        held = self.objects.get((kind, meta.get("namespace", ""), meta["name"]))
        if held is None:
            self.made += 1
            own = {"uid": f"uid-{self.made}", "generation": 1}
        else:
            changed = held.get("spec") != body.get("spec")
            own = {"uid": held["metadata"]["uid"], "generation": held["metadata"]["generation"] + changed}
        return super().put(kind, {**body, "metadata": {**meta, **own}})


class Agent:
    """One node's agent and datapath."""

    def __init__(self, world: "World", name: str) -> None:
        self._world, self.name = world, name
        self.devices = {"eth0": True}
        self.list: set[str] = set()  # addresses in effect
        self.uid, self.released = "", 0
        self.deadline = -1.0  # until when it answers
        self.broken = False  # its kernel refuses every list

    def renew(self) -> None:
        """A renewal that is answered at once."""
        self.renewed(self.renewing())

    def renewing(self) -> float:
        """The API server carries a renewal out; returns when it was begun."""
        self.tell(self.state())
        return self._world.now

    def state(self) -> JSON:
        able = {"able": False} if self.broken else {}
        return {"uid": self.uid, "released": self.released, "interfaces": dict(self.devices), **able}

    def tell(self, state: JSON) -> None:
        """The API server puts the heartbeat down."""
        meta = {
            "namespace": NAMESPACE,
            "name": names.node_lease_name(self.name),
            "annotations": {names.L2_STATE_ANNOTATION: json.dumps(state)},
        }
        renewed = dt.datetime.fromtimestamp(self._world.now, dt.UTC).isoformat()
        spec = {"holderIdentity": self.name, "renewTime": renewed, "number": self._world.number()}
        self._world.bench.api.put(names.LEASE, {"kind": "Lease", "metadata": meta, "spec": spec})

    def renewed(self, begun: float) -> None:
        """The answer to a renewal comes."""
        if self._world.now >= self.deadline:
            self.take_up()
        if not self.broken:
            self.deadline = max(self.deadline, begun + DEADLINE)

    def take_up(self) -> None:
        """Read its list, which counts as in effect where nothing is."""
        if self.broken:
            self.silence()
        self.read(listed=True)

    def silence(self) -> None:
        """It answers no more."""
        self.deadline = -1.0

    def read(self, *, listed: bool = False) -> None:
        """Put into effect what its list is now. `listed`: after a lapse."""
        if self.broken and not listed:
            return
        held = self._world.bench.api.objects.get((names.NODE_ANNOUNCEMENTS, "", self.name))
        if held is None:
            self.list, self.uid, self.released = set(), "", 0
            return
        self.list = {address for one in held["spec"]["services"] for address in one["addresses"]}
        self.uid, self.released = held["metadata"]["uid"], held["metadata"]["generation"]

    def answers(self) -> set[str]:
        return self.list if self._world.now < self.deadline else set()


class World:
    """The cluster, its agents, and one operator at a time."""

    def __init__(self, *nodes: str) -> None:
        self.now, self._number = 1000.0, 0
        self.bench = Bench()
        self.bench.use(GenerationApi())
        self.agents = {name: Agent(self, name) for name in nodes}
        for name in nodes:
            self.node(name)
        self.subject = self._subject()

    def number(self) -> int:
        self._number += 1
        return self._number

    def _subject(self) -> L2:
        return L2(
            self.bench.cluster,
            self.bench.writer,
            namespace=NAMESPACE,
            duration=DURATION,
            deadline=DEADLINE,
            clock=lambda: self.now,
        )

    async def up(self) -> None:
        """Agents renew, the operator starts, and what is to be announced is."""
        for agent in self.agents.values():
            agent.renew()
        self.watch()
        self.subject.listen()
        self.subject.start()
        await self.pass_(RETRY)

    def restart(self) -> None:
        """The operator dies, and a new one lists everything."""
        api = self.bench.api
        self.bench = Bench()
        self.bench.use(api)
        self.subject = self._subject()
        for (kind, _, _), body in api.objects.items():
            self.bench.cluster.seen(kind, {"kind": kind.kind, **body})
        self.subject.listen()
        self.subject.start()

    def stand_by(self, heard: dict[tuple[Kind, str, str], JSON]) -> None:
        """Another operator, which has heard this of heartbeats and lists, and all of what users do."""
        api = self.bench.api
        self.bench = Bench()
        self.bench.use(api)
        self.subject = self._subject()
        users = {place: body for place, body in api.objects.items() if place[0] not in WRITTEN}
        for (kind, _, _), body in (users | heard).items():
            self.bench.cluster.seen(kind, {"kind": kind.kind, **body})
        self.subject.listen()

    def watch(self) -> None:
        """The operator sees heartbeats and lists as they are at the API server."""
        seen = set()
        for (kind, namespace, name), body in list(self.bench.api.objects.items()):
            if kind in WRITTEN:
                seen.add((kind, (namespace, name)))
                self.bench.cluster.seen(kind, body)
        for kind in WRITTEN:
            for key in self.bench.cluster.tables[kind].known():
                if (kind, key) not in seen:
                    self.bench.cluster.gone(kind, key)

    async def decide(self, rounds: int = 10) -> None:
        """The operator alone does what it can; agents see and tell nothing."""
        self.watch()
        await settle(self.subject, rounds)

    async def settle(self) -> None:
        """Everybody sees what there is, and tells, until nothing happens any more."""
        for _ in range(4):
            self.watch()
            await settle(self.subject)
            for agent in self.agents.values():
                if self.now < agent.deadline:  # it has a watch
                    before = agent.uid, agent.released
                    agent.read()
                    if (agent.uid, agent.released) != before:
                        agent.renew()
        self.check()

    async def pass_(self, seconds: float, *, dead: str = "") -> None:
        """Time goes by; all agents but the dead one renew."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + RETRY)
            for agent in self.agents.values():
                if agent.name != dead:
                    agent.renew()
            self.look()
            await self.settle()

    def look(self) -> None:
        """What the subject's own timer does."""
        self.subject.look()

    def check(self) -> None:
        """Nowhere do two nodes answer for one address."""
        answering = [address for agent in self.agents.values() for address in agent.answers()]
        assert len(answering) == len(set(answering)), {name: agent.answers() for name, agent in self.agents.items()}

    # What users do.

    def join(self, name: str) -> None:
        """A further node, with its agent."""
        self.agents[name] = Agent(self, name)
        self.node(name)

    def node(self, name: str, *, cordoned: bool = False, **labels: str) -> None:
        self.bench.seen(names.NODE, name, metadata={"labels": labels}, spec={"unschedulable": cordoned}, status={})

    def policy(self, name: str = "all", **spec: Any) -> None:
        status = self.bench.api.of(names.L2_POLICY).get(name, {}).get("status") or {}
        self.bench.seen(names.L2_POLICY, name, spec={"loadBalancerIPs": True, **spec}, status=status)

    def service(self, name: str, *addresses: str, labels: dict[str, str] | None = None, **spec: Any) -> None:
        ingress = [{"ip": address} for address in addresses]
        usual = {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9", "fd00::9"], "ports": [{"port": 80}]}
        metadata = {"labels": labels or {}}
        status = {"loadBalancer": {"ingress": ingress}}
        self.bench.seen(names.SERVICE, name, "ns", metadata=metadata, spec={**usual, **spec}, status=status)

    def backends(self, service: str, kind: str = "IPv4", **conditions: dict[str, bool]) -> None:
        """`conditions`: of the one backend on each node."""
        endpoints = [
            {"addresses": ["10.0.0.1"], "nodeName": node, "conditions": state} for node, state in conditions.items()
        ]
        labels = {"kubernetes.io/service-name": service}
        meta = {"labels": labels}
        ports = [{"port": 8080}]
        body = {"addressType": kind, "ports": ports, "endpoints": endpoints}
        self.bench.seen(names.ENDPOINT_SLICE, f"{service}-1", "ns", metadata=meta, **body)

    # What is seen.

    def holders(self) -> dict[str, str]:
        """Service -> holder, by its lease."""
        leases = self.bench.api.of(names.LEASE)
        return {
            name.removeprefix("cilium-l2announce-ns-"): body["spec"]["holderIdentity"]
            for name, body in leases.items()
            if name.startswith("cilium-l2announce-")
        }

    def lists(self) -> dict[str, list[JSON]]:
        """Node -> entries."""
        return {name: body["spec"]["services"] for name, body in self.bench.api.of(names.NODE_ANNOUNCEMENTS).items()}

    def answering(self) -> dict[str, str]:
        """Address -> node."""
        return {address: name for name, agent in self.agents.items() for address in agent.answers()}

    def conditions(self, name: str = "all") -> dict[str, tuple[str, str, str]]:
        """Type -> status, reason, message."""
        found = (self.bench.api.of(names.L2_POLICY)[name].get("status") or {}).get("conditions") or []
        return {one["type"]: (one["status"], one["reason"], one["message"]) for one in found}

    def refuse(self, *verbs: str) -> None:
        """The API server does not answer to these requests of the operator any more; none: to all again."""
        self.bench.api.fail = lambda call: errors.UnavailableError("down") if call[0] in verbs else None


async def world(*nodes: str, services: int = 1, **policy: Any) -> World:
    it = World(*(nodes or ("a", "b", "c")))
    it.policy(**policy)
    for n in range(services):
        it.service(f"s{n:03}", f"192.0.2.{n + 1}")
    await it.up()
    return it
