"""Brings the nodes' lists, and the Services' leases, to what the election wants, and never lets two nodes answer.

Used by l2.py. An address is taken off one node's list first; it is put on another's when the first node has reported
that it is no more in effect, or is dead. Dead is proved by reading its lease once more after its list was written: an
agent that comes back renews first and reads its list then, so either that renewal is seen here, or the new list there.
"""

import datetime as dt
import math

from seta_crds import names
from seta_operator.services import l2_lists
from seta_operator.services.l2_election import Election
from seta_operator.services.l2_exposure import Exposure
from seta_operator.services.l2_lists import LeaseNames
from seta_operator.services.l2_liveness import Liveness
from seta_operator.services.l2_reach import Reach
from seta_operator.services.l2_rules import Rule
from seta_operator.store.cluster import Cluster
from seta_operator.store.facts import JSON
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

ROUNDS = 4  # of taking away and giving in one go; what is not done then is done when the next report comes


class Announcer:
    """What each node's list is, and what may still be in effect of what it was."""

    def __init__(
        self, cluster: Cluster, writer: Writer, election: Election, liveness: Liveness, namespace: str
    ) -> None:
        """`namespace`: of the leases."""
        self._cluster, self._writer, self._namespace = cluster, writer, namespace
        self._election, self._liveness = election, liveness
        self._exposure, self._names = Exposure(), LeaseNames()
        self._lists: dict[str, dict[Key, list[JSON]]] = {}  # node -> service -> its entries
        self._on: dict[Key, str] = {}  # service -> the node that lists it
        self._tried: dict[str, tuple[int, list[JSON]]] = {}  # node -> revision and entries of the last attempt to write
        self._waiting: set[Key] = set()  # services that have a holder, which does not list all of it yet
        self._dirty: set[str] = set()  # nodes whose lists are to be written

    def restore(self, now: float) -> set[Key]:
        """Take over what is written; returns the services that have a list's entry, or a lease."""
        for (_, node), held in sorted(self._cluster.owned(names.NODE_ANNOUNCEMENTS).items()):
            written = l2_lists.by_service(held.content)
            spec = held.content.get("spec") or {}
            self._tried[node] = (spec.get("revision") or 0, spec.get("services") or [])
            self._exposure.restore(node, held.uid, held.generation, l2_lists.addresses(written))
            self._liveness.expect(node, now)
            self._lists[node] = {key: found for key, found in written.items() if key not in self._on}
            self._on |= dict.fromkeys(self._lists[node], node)
            self._dirty.add(node)
        for key, node in self._on.items():
            self._election.hold(key, node)
        leased = set()
        for (_, name), lease in sorted(self._cluster.owned(names.LEASE).items()):
            service = l2_lists.service_of(lease)
            if service is not None and self._names.restore(name, service):
                leased.add(service)
                if service not in self._on and (holder := l2_lists.holder_of(lease)):
                    self._election.hold(service, holder)
                    self._doubt(holder, now)
        return self._on.keys() | leased

    def _doubt(self, node: str, now: float) -> None:
        """A Service's holder: if somebody has deleted its list, it may not have heard of that."""
        if ("", node) not in self._cluster.owned(names.NODE_ANNOUNCEMENTS):
            self._exposure.restore(node, "", 1, frozenset())
            self._liveness.expect(node, now)
            self._dirty.add(node)  # an empty list is written for it to report

    def changed(self, node: str) -> None:
        """Somebody else changed, or deleted, a node's list; or an attempt to write it is to be repeated."""
        self._dirty.add(node)
        held = self._cluster.owned(names.NODE_ANNOUNCEMENTS).get(("", node))
        if held is not None:
            self._exposure.saw(node, l2_lists.addresses(l2_lists.by_service(held.content)))

    def has(self, key: Key) -> bool:
        """Whether a node lists something of a service, or a lease is written of it."""
        return key in self._on or self._names.has(key)

    async def catch_up(self) -> bool:
        """Before `restore`: see all that was written up to now, which a watch may still have to show; whether it is."""
        return await self._writer.read_all(names.NODE_ANNOUNCEMENTS, "") and await self._writer.read_all(
            names.LEASE, self._namespace
        )

    def is_calm(self) -> bool:
        """Whether no hand-over is under way, and nothing is to be written."""
        return not (self._waiting or self._dirty or self._exposure.waiting())

    async def settle(self, keys: set[Key], reach: Reach, rules: dict[str, Rule], seconds: float) -> set[Key]:
        """Write what has to change for these services, and those that wait; returns what failed.

        That is (namespace, name) of services, and ("", name) of nodes. `seconds`: what leases say of their duration.
        """
        touched = keys | self._waiting
        for _ in range(ROUNDS):
            self._edit(touched, reach, rules)
            await self._write()
            unproved, freed = await self._prove()
            if not freed:
                break
        failed = await self._write_leases(touched, math.ceil(seconds))
        return failed | {("", node) for node in self._dirty | unproved}

    def _edit(self, touched: set[Key], reach: Reach, rules: dict[str, Rule]) -> None:
        """Change the lists, as far as addresses are free."""
        for key in sorted(touched):
            node, wish = self._election.holders.get(key), self._election.wishes.get(key)
            if self._on.get(key) not in (None, node):
                self._place(key, self._on[key], [])
            self._waiting.discard(key)
            if node is None or wish is None:
                continue
            wanted = l2_lists.together(wish, node, reach, rules)
            free = {
                expressions: found
                for expressions, addresses in wanted.items()
                if (found := [address for address in addresses if self._exposure.free(address, node)])
            }
            self._place(key, node, l2_lists.entries(key, free))
            if free != wanted:
                self._waiting.add(key)

    def _place(self, key: Key, node: str, entries: list[JSON]) -> None:
        """Let the node's list have these entries of a service."""
        listed = self._lists.setdefault(node, {})
        if listed.get(key, []) == entries:
            return
        self._dirty.add(node)
        if entries:
            listed[key], self._on[key] = entries, node
        else:
            del listed[key], self._on[key]

    async def _write(self) -> None:
        """Write the lists that changed."""
        wanted: dict[Key, JSON | None] = {}
        for node in sorted(self._dirty):
            listed = self._lists.get(node, {})
            self._exposure.attempt(node, l2_lists.addresses(listed))
            wanted["", node] = None if not listed and self._exposure.idle(node) else self._content(node, listed)
        failed = await self._writer.ensure(names.NODE_ANNOUNCEMENTS, wanted)
        self._dirty = {node for _, node in failed}
        for key in wanted.keys() - failed:
            self._written(key[1], self._cluster.owned(names.NODE_ANNOUNCEMENTS).version(key) is not None)

    def _written(self, node: str, there: bool) -> None:  # noqa: FBT001
        """What was wanted of a node's list is so."""
        held = self._cluster.owned(names.NODE_ANNOUNCEMENTS).get(("", node))
        if there and held is not None:
            self._exposure.written(node, held.uid, held.generation)
        elif self._exposure.idle(node):
            self._exposure.forget(node)
            self._liveness.forget(node)
            self._tried.pop(node, None)
            self._lists.pop(node, None)
        else:
            self._dirty.add(node)  # somebody deleted it just now

    def _content(self, node: str, listed: dict[Key, list[JSON]]) -> JSON:
        """Of a NodeAnnouncements. Each attempt to write other entries has a revision of its own."""
        entries = [entry for key in sorted(listed) for entry in listed[key]]
        revision, before = self._tried.get(node, (0, []))
        if not revision or before != entries:
            revision += 1
            self._tried[node] = (revision, entries)
        return {"metadata": {}, "spec": {"revision": revision, "count": len(listed), "services": entries}}

    async def _prove(self) -> tuple[set[str], bool]:
        """Free what is proved to be in effect no more; returns nodes whose leases cannot be read, and whether any."""
        unproved, freed = set(), False
        for node in sorted(self._exposure.waiting()):
            state = self._liveness.state(node)
            proved = self._exposure.reported(node, state.uid, state.released)
            if not proved and self._liveness.dead(node) and node not in self._dirty:
                silent = await self.silent(node)
                proved = silent is True and self._exposure.cleared(node)
                unproved |= {node} if silent is None else set()
            if proved:
                self._dirty.add(node)  # an idle one's list is deleted
                freed = True
        return unproved, freed

    async def silent(self, node: str) -> bool | None:
        """Whether its heartbeat is, at the API server, as it was seen last; None where that does not answer."""
        key = (self._namespace, names.node_lease_name(node))
        before = self._cluster.owned(names.LEASE).version(key)
        if not await self._writer.refresh(names.LEASE, key):
            return None
        return self._cluster.owned(names.LEASE).version(key) == before

    async def _write_leases(self, touched: set[Key], seconds: int) -> set[Key]:
        """A service's lease names the node that lists it; none is left of one that nobody is to announce."""
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        wanted: dict[Key, JSON | None] = {}
        whose: dict[Key, Key] = {}  # lease -> service
        for key in sorted(touched):
            node = self._on.get(key)
            if node is None and (key in self._election.holders or not self._names.has(key)):
                continue
            lease = (self._namespace, self._names.of(key))
            held = self._cluster.owned(names.LEASE).get(lease)
            whose[lease], wanted[lease] = key, l2_lists.lease(key, node, seconds, held, now) if node else None
        failed = await self._writer.ensure(names.LEASE, wanted)
        for lease in wanted.keys() - failed:
            if wanted[lease] is None:
                self._names.release(whose[lease])
        return {whose[lease] for lease in failed}
