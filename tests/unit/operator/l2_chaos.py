"""The worst that can happen to agents and operator, step by step, as a state machine for hypothesis.

Requests are begun, carried out and answered as three steps, between which everything else may happen: time goes by,
answers are lost, watches lag, agents and the operator die, the API server fails before or after it has done something.
Agents' clocks run up to a quarter faster or slower than the operator's. Used by test_l2_never_two.py.
"""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from seta_crds import names
from seta_crds.names import Kind
from seta_operator.store import errors
from tests.unit.operator.fakes import settle
from tests.unit.operator.l2_world import DEADLINE, Agent, GenerationApi, World

JSON = dict[str, Any]
NODES, SERVICES = ("a", "b", "c"), ("one", "two")
ADDRESSES = ("192.0.2.1", "192.0.2.2")
STEPS = ("begin", "carry_out", "answer", "lose", "list", "watch", "crash")


class OperatorDiedError(Exception):
    """In the middle of what it did."""


@dataclasses.dataclass
class Renewal:
    begun: float
    state: JSON  # what it tells
    done: bool = False  # by the API server
    answered: bool = False  # and it waits for its list


class ChaosAgent(Agent):
    """An agent whose every step is on its own."""

    rate = 1.0  # of its clock, to the operator's
    renewal: Renewal | None = None

    def step(self, name: str) -> None:
        getattr(self, f"_{name}")()

    def _begin(self) -> None:
        if self.renewal is None:
            self.renewal = Renewal(self._world.now, self.state())

    def _carry_out(self) -> None:
        if self.renewal is not None and not self.renewal.done:
            self.renewal.done = True
            self.tell(self.renewal.state)

    def _answer(self) -> None:
        it = self.renewal
        if it is None or not it.done or it.answered:
            return
        it.answered = True
        if self._world.now < self.deadline:
            self._extend(it)

    def _list(self) -> None:
        """After an answer that came too late to go on: the list first, then the deadline."""
        it = self.renewal
        if it is not None and it.answered:
            self.take_up()
            self._extend(it)

    def _extend(self, it: Renewal) -> None:
        if not self.broken:
            self.deadline = max(self.deadline, it.begun + DEADLINE / self.rate)
        self.renewal = None

    def _lose(self) -> None:
        self.renewal = None

    def _watch(self) -> None:
        self.read()

    def _crash(self) -> None:
        """The datapath goes on; the next process knows nothing of what is in effect until it has read its list."""
        self.renewal, self.uid, self.released = None, "", 0


class ChaosApi(GenerationApi):
    """Between the operator's requests, and between carrying one out and answering it, other things happen."""

    between: Callable[[], None] = staticmethod(lambda: None)
    trouble: Callable[[], str] = staticmethod(lambda: "")

    async def read(self, *args: Any) -> JSON:
        return await self._in_trouble(super().read, *args)

    async def create(self, *args: Any) -> JSON:
        return await self._in_trouble(super().create, *args)

    async def replace(self, *args: Any) -> JSON:
        return await self._in_trouble(super().replace, *args)

    async def delete(self, *args: Any) -> None:
        await self._in_trouble(super().delete, *args)

    async def _in_trouble(self, request: Callable[..., Any], *args: Any) -> Any:
        self.between()
        trouble = self.trouble()
        if trouble == "refused":
            raise errors.UnavailableError("before")
        answer = await request(*args)
        self.between()
        if trouble == "answer lost":
            raise errors.UnavailableError("after")
        if trouble == "died":
            raise OperatorDiedError
        return answer


class Chaos(RuleBasedStateMachine):
    """Anything in any order; `never_two` holds after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.api = ChaosApi()
        self.heard: dict[tuple[Kind, str, str], JSON] = {}  # what watches have shown of heartbeats and lists
        self.world.bench.use(self.api)
        self.world.agents = {name: ChaosAgent(self.world, name) for name in NODES}
        self.world.subject = self.world._subject()

    @initialize(rates=st.tuples(*[st.sampled_from([0.75, 1.0, 1.25])] * len(NODES)))
    def up(self, rates: tuple[float, ...]) -> None:
        world = self.world
        for agent, rate in zip(world.agents.values(), rates, strict=True):
            agent.rate = rate  # type: ignore[attr-defined]
            world.node(agent.name)
        world.policy()
        for name, address in zip(SERVICES, ADDRESSES, strict=True):
            world.service(name, address)
        asyncio.run(world.up())

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.0, 8.0, 16.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(node=st.sampled_from(NODES), step=st.sampled_from(STEPS))
    def agent(self, node: str, step: str) -> None:
        self.world.agents[node].step(step)  # type: ignore[attr-defined]

    @rule(
        seconds=st.sampled_from([0.5, 2.0, 4.0, 16.0]),
        well=st.sets(st.sampled_from(NODES)),
        deaf=st.sampled_from(["", *NODES]),
    )
    def a_round(self, seconds: float, well: set[str], deaf: str) -> None:
        """What is usual: agents renew and read their lists, the operator hears of all but one, and acts."""
        self.world.now += seconds
        for node in sorted(well):
            for step in ("lose", "watch", "begin", "carry_out", "answer", "list"):
                self.world.agents[node].step(step)  # type: ignore[attr-defined]
        for node in set(NODES) - {deaf}:
            self.the_operator_hears_of(node)
        self.world.look()
        asyncio.run(self._decide())

    @rule(node=st.sampled_from(NODES))
    def the_operator_hears_of(self, node: str) -> None:
        for kind, namespace, name in (
            (names.LEASE, "kube-system", names.node_lease_name(node)),
            (names.NODE_ANNOUNCEMENTS, "", node),
        ):
            if (body := self.api.objects.get((kind, namespace, name))) is not None:
                self.heard[kind, namespace, name] = body
                self.world.bench.cluster.seen(kind, body)
            else:
                self.heard.pop((kind, namespace, name), None)
                self.world.bench.cluster.gone(kind, (namespace, name))

    @rule(data=st.data())
    def the_operator_acts(self, data: st.DataObject) -> None:
        def between() -> None:
            for node, step in data.draw(
                st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(STEPS)), max_size=3)
            ):
                self.world.agents[node].step(step)  # type: ignore[attr-defined]
                self.world.check()

        troubles = st.sampled_from(["", "", "", "", "", "refused", "answer lost", "died"])
        self.api.between, self.api.trouble = between, lambda: data.draw(troubles)  # type: ignore[method-assign]
        self.world.look()
        try:
            asyncio.run(self._decide())
        except OperatorDiedError:
            self.restart()
        finally:
            self.api.between, self.api.trouble = lambda: None, lambda: ""  # type: ignore[method-assign]

    async def _decide(self) -> None:
        await settle(self.world.subject, rounds=2)

    @rule()
    def restart(self) -> None:
        async def start() -> None:
            self.world.restart()

        asyncio.run(start())

    @rule()
    def a_standby_takes_over(self) -> None:
        """It has seen no more than its watch has shown, and catches up before it starts."""
        self.world.stand_by(self.heard)
        asyncio.run(self._start())

    async def _start(self) -> None:
        assert await self.world.subject._announcer.catch_up()
        self.world.subject.start()

    @rule(sees=st.booleans())
    def the_watch(self, *, sees: bool) -> None:
        (self.world.subject.found if sees else self.world.subject.lost)()

    @rule(node=st.sampled_from(NODES), cordoned=st.booleans())
    def cordon(self, node: str, *, cordoned: bool) -> None:
        self.world.node(node, cordoned=cordoned)

    @rule(node=st.sampled_from(NODES))
    def node_is_deleted(self, node: str) -> None:
        self.world.bench.gone(names.NODE, node)

    @rule(node=st.sampled_from(NODES), up=st.booleans())
    def link(self, node: str, *, up: bool) -> None:
        self.world.agents[node].devices = {"eth0": up}

    @rule(node=st.sampled_from(NODES), broken=st.booleans())
    def kernel(self, node: str, *, broken: bool) -> None:
        self.world.agents[node].broken = broken

    @rule(name=st.sampled_from(SERVICES), addresses=st.sets(st.sampled_from(ADDRESSES)))
    def service(self, name: str, addresses: set[str]) -> None:
        self.world.service(name, *sorted(addresses))

    @rule(node=st.sampled_from(NODES), kind=st.sampled_from([names.LEASE, names.NODE_ANNOUNCEMENTS]))
    def somebody_deletes(self, node: str, kind: Any) -> None:
        name = names.node_lease_name(node) if kind == names.LEASE else node
        self.api.objects.pop((kind, "kube-system" if kind == names.LEASE else "", name), None)

    @invariant()
    def never_two(self) -> None:
        self.world.check()
