"""L2 announcements: who answers on the LAN for the addresses of which Service.

One holder per Service, chosen here for the whole cluster: nodes send one heartbeat each, and the API server's load
grows with nodes, not with Services. Heartbeats only move a time (l2_liveness); everything else is marked and decided
in one pass: rules (l2_rules), what they announce (l2_wishes), on which nodes (l2_reach), chosen (l2_election), and
written in a safe order (l2_announcer).
"""

import asyncio
import datetime as dt
import math
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from seta_crds import names
from seta_crds.names import Kind
from seta_operator.services import l2_lists, l2_reach, l2_rules, l2_wishes
from seta_operator.services.l2_announcer import Announcer
from seta_operator.services.l2_election import Election
from seta_operator.services.l2_liveness import Liveness, News
from seta_operator.services.l2_rules import Rule
from seta_operator.services.subject import Subject
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.facts import JSON
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

Mark = tuple[Kind, Key]
ANYBODY: Mark = (names.NODE, ("", ""))  # look at the nodes again, whoever it is
RETRY = 0.5  # seconds
CALM, PACE = 60.0, 10.0  # seconds: of nothing happening before holdings are evened out; between two moves that do it
SLOW = 1.0  # seconds after which an answer of the API server says nothing about who is silent
log = structlog.get_logger()


class L2(Subject[Mark]):
    """Marked with Services, policies, nodes (what of them matters changed), NodeAnnouncements, and leases (reports)."""

    name = "l2"
    delay = 0.02  # a node that dies, or a policy that comes, concerns many Services

    def __init__(
        self,
        cluster: Cluster,
        writer: Writer,
        *,
        namespace: str,
        duration: float,
        deadline: float,
        proxy_name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespace`: of the leases. `duration`, `deadline`: seconds, see l2_liveness. `clock`: monotonic."""
        super().__init__()
        self._cluster, self._writer, self._clock = cluster, writer, clock
        self._duration, self._deadline, self._proxy_name = duration, deadline, proxy_name
        self._liveness, self._election = Liveness(duration, deadline), Election()
        self._announcer = Announcer(cluster, writer, self._election, self._liveness, namespace)
        self._rules: dict[str, Rule] = {}  # policy -> rule
        self._problems: dict[str, dict[str, str]] = {}  # policy -> condition type -> what is wrong with its spec
        self._nodes: dict[str, l2_reach.Node] = {}  # node -> what matters of it, as it was when it was marked last
        self._reach = l2_reach.NOTHING
        self._untold: set[str] = set()  # policies that may have to be told something
        self._shape: dict[str, tuple[bool, bool]] = {}  # policy -> whether it announces, and reaches, when told last
        self._next_move = 0.0  # when a Service may be moved to even out
        cluster.listen(names.SERVICE, lambda key, _before, _after: self.mark((names.SERVICE, key)))
        cluster.listen(names.L2_POLICY, lambda key, _before, _after: self.mark((names.L2_POLICY, key)))
        cluster.listen(
            names.NODE_ANNOUNCEMENTS, lambda key, _before, _after: self.mark((names.NODE_ANNOUNCEMENTS, key))
        )
        cluster.listen(names.NODE, self._node_changed)
        cluster.listen(names.ENDPOINT_SLICE, self._slice_changed)
        cluster.listen(names.LEASE, self._lease_changed)

    async def run(self) -> None:
        """Apply what is marked, for ever; first see what an operator before this one has written to the last."""
        caught_up = await self._announcer.catch_up()
        while not caught_up:
            await asyncio.sleep(RETRY)
            caught_up = await self._announcer.catch_up()
        await super().run()

    def start(self) -> None:
        """Take over the holders; nobody is dead before a whole lease duration since `listen`."""
        for key in self._announcer.restore(self._clock()) | self._cluster.services.known():
            self.mark((names.SERVICE, key))
        for kind in (names.L2_POLICY, names.NODE):
            for key in self._cluster.tables[kind].known():
                self.mark((kind, key))
        self._watch_silence()
        asyncio.get_running_loop().call_later(self._deadline, self.mark, ANYBODY)  # who is late is waited for no more

    def listen(self) -> None:
        """All heartbeats have been seen once; from now on silence means something, though others decide perhaps."""
        self._liveness.begin(self._clock())

    def lost(self) -> None:
        """Heartbeats cannot be seen any more."""
        self._liveness.lost(self._clock())

    def found(self) -> None:
        """They can again."""
        self._liveness.found(self._clock())

    async def apply(self, keys: set[Mark]) -> set[Mark]:
        """Decide for what is marked, and write it."""
        dead = await self._confirm_deaths()
        rules = {key[1] for kind, key in keys if kind == names.L2_POLICY}
        for name in rules:
            self._read(("", name))
        nodes = {key[1] for kind, key in keys if kind == names.NODE} | dead
        self._untold |= self._rules.keys() if nodes else rules
        dirty = {key for kind, key in keys if kind == names.SERVICE}
        if self._look_around(rules, nodes) or rules:
            dirty |= self._cluster.services.known() | self._election.wishes.keys() | self._election.holders.keys()
        wishes = {key: wish for key in dirty if (wish := self._wish(key)) or self._is_ours(key)}
        if wishes:
            self._next_move = min(self._next_move, self._clock() + CALM)
        for key in [key for kind, key in keys if kind == names.NODE_ANNOUNCEMENTS]:
            self._announcer.changed(key[1])
        concerned = {other for key in sorted(wishes) for other in self._election.wish(key, wishes[key])}
        decided = self._election.decide(wishes.keys() | concerned, self._reach) | self._even_out()
        left = await self._announcer.settle(decided, self._reach, self._rules, self._duration)
        failed = await self._tell()
        return failed | {(names.SERVICE if key[0] else names.NODE_ANNOUNCEMENTS, key) for key in left}

    async def _confirm_deaths(self) -> set[str]:
        """Ask the API server about nodes that are silent, and return who is dead; where it is slow, nobody is."""
        dead = set()
        for node in self._liveness.silent(self._clock()):
            asked = self._clock()
            silent = await self._announcer.silent(node)
            if silent is None or self._clock() - asked > SLOW:
                self.lost()
                self.found()
                break
            if silent:
                dead.add(node)
                self._liveness.bury(node)
                log.warning("node.silent", node=node, seconds=self._duration)
        return dead

    def _look_around(self, rules: set[str], nodes: set[str]) -> bool:
        """See what the rules reach now, after these have changed; whether elections may come out differently."""
        before, now = self._reach, self._clock()
        for name in nodes:
            if (node := self._look_at(name)) is not None:
                self._nodes[name] = node
            else:
                self._nodes.pop(name, None)
        opening = self._liveness.opening(now)
        fresh = {name for name in self._nodes if not opening and self._liveness.fresh(name, now)}
        self._reach = l2_reach.renewed(before, self._rules, self._nodes, fresh, changed=rules, moved=nodes)
        changed = replace(self._reach, fresh=before.fresh) != before or not self._reach.fresh <= before.fresh
        if changed:
            self._next_move = now + CALM
        return changed

    def _look_at(self, name: str) -> l2_reach.Node | None:
        """What matters of a node; None where there is none, or no agent on it."""
        node = self._cluster.nodes.get(("", name))
        if node is None or not self._liveness.knows(name):
            return None
        alive, up = not self._liveness.dead(name), self._liveness.state(name).up
        return l2_reach.Node(node.labels, node.cordoned, alive=alive, up=up)

    def _is_ours(self, key: Key) -> bool:
        """Whether anything is announced of a Service, or is still to be taken back."""
        return key in self._election.wishes or key in self._election.holders or self._announcer.has(key)

    def _even_out(self) -> set[Key]:
        """One Service, now and then, from a node that has many to one that has few: nodes come one after the other."""
        now = self._clock()
        if now < self._next_move or not self._announcer.is_calm():
            return set()
        moved = self._election.even_out(self._reach)
        self._next_move = now + PACE if moved else math.inf
        for key in sorted(moved):
            log.info("service.evened_out", namespace=key[0], name=key[1], node=self._election.holders.get(key))
        return moved

    def _wish(self, key: Key) -> l2_wishes.Wish | None:
        service = self._cluster.services.get(key)
        if service is None:
            return None
        return l2_wishes.of(key, service, self._rules, self._cluster.slices(key), self._proxy_name)

    def _read(self, key: Key) -> None:
        """Make a rule of a policy, or forget it."""
        policy = self._cluster.policies(names.L2_POLICY).get(key)
        if policy is None:
            self._rules.pop(key[1], None)
            self._problems.pop(key[1], None)
        else:
            self._rules[key[1]], self._problems[key[1]] = l2_rules.of(policy.spec)

    async def _tell(self) -> set[Mark]:
        """Write what is wrong with policies, where that may be news; returns those that could not be told."""
        if self._liveness.opening(self._clock()):
            return set()
        now, failed = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), set()
        shape = {name: (self._election.asked[name] > 0, bool(self._reach.usable.get(name))) for name in self._rules}
        untold = self._untold | {name for name, found in shape.items() if found != self._shape.get(name)}
        self._shape, self._untold = shape, set()
        for key in [("", name) for name in sorted(untold & self._rules.keys())]:
            policy = self._cluster.policies(names.L2_POLICY).get(key)
            if policy is None:
                continue
            conditions = l2_rules.conditions(policy.conditions, self._wrong(key[1]), now)
            if conditions != policy.conditions:
                log.info("policy.problems", kind=names.L2_POLICY.kind, name=key[1], conditions=conditions)
                if not await self._writer.status(names.L2_POLICY, key, {"conditions": conditions}):
                    failed.add((names.L2_POLICY, key))
        return failed

    def _wrong(self, name: str) -> dict[str, str]:
        """Condition type -> what is wrong with a policy."""
        if (rule := self._rules.get(name)) is None:
            return {}
        selects = rule.nodes is not None and any(
            rule.nodes.matches(l2_reach.labels_of(node.labels)) for _, node in self._cluster.nodes.items()
        )
        reaches, announces = bool(self._reach.usable.get(name)), self._election.asked[name] > 0
        idle = l2_rules.idle(rule, selects=selects, reaches=reaches, announces=announces)
        return self._problems[name] | ({l2_rules.IDLE: idle} if idle else {})

    def _node_changed(self, key: Key, before: facts.Node | None, after: facts.Node | None) -> None:
        if before is None or after is None or (before.labels, before.cordoned) != (after.labels, after.cordoned):
            self.mark((names.NODE, key))

    def _slice_changed(self, key: Key, before: facts.EndpointSlice | None, after: facts.EndpointSlice | None) -> None:
        for service in {(key[0], piece.service) for piece in (before, after) if piece is not None}:
            found = self._cluster.services.get(service)
            if found is not None and found.external_local:  # of others it does not matter where their backends are
                self.mark((names.SERVICE, service))

    def _lease_changed(self, key: Key, before: facts.Owned | None, after: facts.Owned | None) -> None:
        lease = after or before
        if lease is None:
            return
        if (node := l2_lists.heartbeat_of(key[1], lease)) is not None:
            self._heard(node, after, self._cluster.owned(names.LEASE).version(key) or 0)
        elif (service := l2_lists.service_of(lease)) is not None:
            self.mark((names.SERVICE, service))

    def _heard(self, node: str, lease: facts.Owned | None, version: int) -> None:
        """A heartbeat: it wakes nobody, unless it tells something new."""
        if lease is None:
            self._liveness.gone(node)
            return
        annotations: JSON = lease.content["metadata"].get("annotations") or {}
        text = annotations.get(names.L2_STATE_ANNOTATION, "")
        was_able = self._liveness.state(node).able
        news = self._liveness.seen(node, version, text, self._clock())
        if was_able and not self._liveness.state(node).able:
            log.warning("node.unable", node=node, problem="its agent cannot put into effect what it is to announce")
        match news:
            case News.NODE:
                self.mark((names.NODE, ("", node)))
            case News.REPORT:
                self.mark((names.LEASE, ("", node)))

    def _watch_silence(self) -> None:
        """Have those looked at that are silent by now, and come again when the next one may be."""
        self.look()
        pause = min(self._liveness.next_silence(self._clock()), PACE)
        asyncio.get_running_loop().call_later(pause, self._watch_silence)

    def look(self) -> None:
        """Mark what time alone has changed."""
        now = self._clock()
        for node in self._liveness.silent(now):
            self.mark((names.NODE, ("", node)))
        if now >= self._next_move:
            self.mark(ANYBODY)
