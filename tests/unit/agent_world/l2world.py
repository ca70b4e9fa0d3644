"""A node that announces addresses, in a test: a clock to turn, an API server of one lease, a kernel of two sets."""

import asyncio
import dataclasses
import json

from seta_agent import kube
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.desired.l2 import Answer, Link
from seta_agent.kube import KubeError
from seta_agent.l2.holder import Holder
from seta_agent.settings import Settings
from seta_agent.tables import Table
from seta_crds import names
from tests.unit.agent_world.world import NODE, node

SECOND = 1_000_000_000
ENS5, ENS6 = Link("ens5", 2, b"\2\0\0\0\0\5", up=True), Link("ens6", 3, b"\2\0\0\0\0\6", up=True)


class Clock:
    def __init__(self):
        self.now = 1000 * SECOND

    def __call__(self):
        return self.now

    def turn(self, seconds):
        self.now += round(seconds * SECOND)


class Server:
    """`announced`: the NodeAnnouncements. `takes`: seconds between a request and its answer."""

    def __init__(self, clock, name=NODE):
        self.clock, self.down, self.takes, self.name = clock, False, 0.0, name
        self.leases, self.asked = [], []  # as written; verbs in order
        self.announced = None
        self._watchers = []

    def announce(self, *services, generation=1, uid="u1", seen=True):
        """`seen`: watchers are told."""
        self.announced = {
            "metadata": {"name": self.name, "uid": uid, "generation": generation, "resourceVersion": str(generation)},
            "spec": {"services": list(services)},
        }
        for watcher in self._watchers if seen else ():
            watcher.put_nowait({"type": "MODIFIED", "object": self.announced})

    @property
    def told(self):
        """What the last heartbeat said."""
        return json.loads(self.leases[-1]["metadata"]["annotations"][names.L2_STATE_ANNOTATION])

    async def apply(self, path, body, manager):
        self._answer("renew")
        self.leases.append({**body, "path": path, "manager": manager})
        return body

    async def pages(self, path, params, *, cached):  # noqa: ARG002
        self._answer("list")
        assert params == {"fieldSelector": f"metadata.name={self.name}"}
        yield {"metadata": {"resourceVersion": "7"}, "items": [self.announced] if self.announced else []}

    async def watch(self, path, version, params):  # noqa: ARG002
        watcher = asyncio.Queue()
        self._watchers.append(watcher)
        yield {"type": kube.CONNECTED}
        while True:
            yield await watcher.get()

    def _answer(self, verb):
        if self.down:
            raise KubeError(0, "connection refused")
        self.asked.append(verb)
        self.clock.turn(self.takes)


class Kernel:
    """The responder's maps, and what the herald was told."""

    def __init__(self):
        self.answers, self.deadline = set(), 0
        self.announced, self.groups = [], set()
        self.refuses = False

    def apply(self, wanted, links):  # noqa: ARG002
        if self.refuses:
            raise BpfError("writing entries", Reason.FULL)
        fresh, self.answers = set(wanted) - self.answers, set(wanted)
        return fresh

    def until(self, nanoseconds):
        self.deadline = nanoseconds

    def announce(self, fresh, links):  # noqa: ARG002
        self.announced.append(set(fresh))

    def listen(self, wanted):
        self.groups = set(wanted)


class AnnouncingNode:
    """`beat` is one renewal. `kernel` may be that of an agent before this one."""

    def __init__(self, clock=None, server=None, kernel=None):
        self.clock = clock or Clock()
        self.server, self.kernel = server or Server(self.clock), kernel or Kernel()
        self.links = {"ens5": ENS5}
        self.nodes = Table("nodes")
        self.nodes.set(NODE, dataclasses.replace(node(), uid="node-uid"))
        self.holder = Holder(
            Settings(node_name=NODE, enable_l2_announcements=True),
            self.nodes,
            self.server,
            namespace="kube-system",
            links=lambda: self.links,
            responder=self.kernel,
            herald=self.kernel,
            clock=self.clock,
        )

    async def beat(self):
        renewed = await self.holder.beat()
        await self.settled()
        return renewed

    async def settled(self):
        """Whatever a watch had to tell has been told."""
        for _ in range(20):
            await asyncio.sleep(0)

    def later(self, seconds):
        self.clock.turn(seconds)
        self.holder.expire()

    def link(self, link, **changes):
        self.links = {**self.links, link.name: dataclasses.replace(link, **changes)}
        self.holder.links_changed()

    @property
    def answers(self):
        """For what the datapath answers now."""
        return self.kernel.answers if self.clock() < self.kernel.deadline else set()

    @property
    def has_news(self):
        return self.holder._news.is_set()


def service(name, *addresses, interfaces=()):
    return {"namespace": "shop", "name": name, "addresses": list(addresses), "interfaces": list(interfaces)}


def answer(last, ifindex=2):
    return Answer(4, bytes((10, 10, 200, last)), ifindex)
