"""LoadBalancer Services: each gets addresses of the CiliumLoadBalancerIPPools, in its status.

Who gets which is decided in seta_crds.lbipam, so that `seta lb preview` can foretell it. The status of the Services is
this subject's only memory: what is there at the start is taken over. Without pools it does nothing, but for taking
back what was given while there were some.
"""

import asyncio
import time

import structlog

from seta_crds import names
from seta_crds.lbipam import addresses, pools, requests, verdicts
from seta_crds.lbipam.addresses import Address
from seta_crds.lbipam.allocation import Allocation
from seta_crds.names import Kind
from seta_operator.services import lbipam_status
from seta_operator.services.contests import Contests
from seta_operator.services.subject import Subject
from seta_operator.store import facts
from seta_operator.store.cluster import Cluster
from seta_operator.store.table import Key
from seta_operator.store.writer import Writer

Mark = tuple[Kind, Key]
log = structlog.get_logger()


class LBIPAM(Subject[Mark]):
    """Marked with Services and pools."""

    name = "lbipam"
    delay = 0.1  # pools that are edited together are judged together: a block may move from one to the other

    def __init__(self, cluster: Cluster, writer: Writer, default_ipam: str) -> None:
        super().__init__()
        self._cluster, self._writer, self._default = cluster, writer, default_ipam
        self._allocation = Allocation()
        self._showing: dict[Address, set[Key]] = {}  # address -> services that have it in their status
        self._told: dict[str, tuple[object, ...]] = {}  # pool -> what its conditions were made of
        self._dormant = True  # there are no pools
        self._contests = Contests(lambda key: self.mark((names.SERVICE, key)))
        cluster.listen(names.SERVICE, self._service_changed)
        cluster.listen(names.LOAD_BALANCER_IP_POOL, lambda key, *_: self.mark((names.LOAD_BALANCER_IP_POOL, key)))

    def start(self) -> None:
        """Look at everything at once: what is in status then comes before what is asked for."""
        for kind in (names.LOAD_BALANCER_IP_POOL, names.SERVICE):
            for key in self._cluster.tables[kind].known():
                self.mark((kind, key))

    async def apply(self, keys: set[Mark]) -> set[Mark]:
        """Decide, and write the status of these Services and pools, and of others that their change concerns."""
        services = {key for kind, key in keys if kind == names.SERVICE}
        marked = {name for kind, (_, name) in keys if kind == names.LOAD_BALANCER_IP_POOL}
        began = time.process_time()
        for name in sorted(marked):
            self._read_pool(name)
        for key in sorted(services):
            self._read_service(key)
        services |= self._allocation.settle()
        if self._dormant == bool(self._allocation.layout.pools):
            self._dormant = not self._dormant
            services |= self._cluster.services.known()  # all are told, or nobody is any more
        log.debug("lbipam.settled", services=len(services), cpu=round(time.process_time() - began, 3))
        failed: set[Mark] = {(names.SERVICE, key) for key in await self._tell_services(services)}
        return failed | {(names.LOAD_BALANCER_IP_POOL, ("", name)) for name in await self._tell_pools(marked)}

    def _service_changed(self, key: Key, before: facts.Service | None, after: facts.Service | None) -> None:
        for service, showing in ((before, False), (after, True)):
            for address in _shown(service):
                if showing:
                    self._showing.setdefault(address, set()).add(key)
                elif address in self._showing:
                    self._showing[address].discard(key)
                    if not self._showing[address]:
                        del self._showing[address]
        self.mark((names.SERVICE, key))

    def _read_pool(self, name: str) -> None:
        found = self._cluster.ip_pools.get(("", name))
        if found is None:
            self._allocation.drop_pool(name)
            self._told.pop(name, None)
        else:
            self._allocation.put_pool(pools.pool(name, found.created, found.spec))

    def _read_service(self, key: Key) -> None:
        service = self._cluster.services.get(key)
        if service is None or not requests.responsible(service, self._default):
            self._allocation.drop(key)
        else:
            self._allocation.put(requests.request(key, service))

    async def _tell_services(self, keys: set[Key]) -> set[Key]:
        """Write their status; those that could not be written. Whoever loses an address is written before who gains."""
        losing = {key for key in keys if self._loses(key)}
        failed: set[Key] = set()
        for some in (losing, keys - losing):
            each = sorted(some)
            done = await asyncio.gather(*(self._tell_service(key) for key in each))
            failed |= {key for key, told in zip(each, done, strict=True) if not told}
        return failed

    def _loses(self, key: Key) -> bool:
        held = self._allocation.held.of.get(key, ())
        return any(address not in held for address in _shown(self._cluster.services.get(key)))

    async def _tell_service(self, key: Key) -> bool:
        service, version = self._cluster.services.get(key), self._cluster.services.version(key)
        if service is None:
            self._contests.forget(key)
            return True
        held: tuple[Address, ...] | None = None  # it is not ours
        condition = None
        if self._allocation.layout.pools and self._allocation.request(key) is not None:
            held = self._allocation.held.of.get(key, ())
            condition = verdicts.of_service(self._allocation.problems(key))
        ready = held and tuple(address for address in held if not self._is_shown_by_another(key, address))
        complete = ready == held  # else what it loses is written now: two may be waiting for each other's
        status = lbipam_status.of_service(service, ready, condition)
        what = ready, condition
        if status is None or self._contests.wait(key, what):
            return complete
        if not await self._writer.status(names.SERVICE, key, status, version):
            return False
        self._contests.written(key, what)
        return complete

    def _is_shown_by_another(self, key: Key, address: Address) -> bool:
        """Whether it stands in the status of a Service that has it no more: that is to be written first."""
        return any(
            other != key
            and self._allocation.request(other) is not None
            and address not in self._allocation.held.of.get(other, ())
            for other in self._showing.get(address, ())
        )

    async def _tell_pools(self, marked: set[str]) -> set[str]:
        """Write the conditions of pools that are marked, or whose numbers are others; those that could not be."""
        wanted = {}
        for name in self._allocation.layout.pools:
            made_of = self._made_of(name)
            if name in marked or self._told.get(name) != made_of:
                wanted[name] = made_of
        done = await asyncio.gather(*(self._tell_pool(name) for name in wanted))
        for (name, made_of), told in zip(wanted.items(), done, strict=True):
            if told:
                self._told[name] = made_of
        return {name for name, told in zip(wanted, done, strict=True) if not told}

    def _made_of(self, name: str) -> tuple[object, ...]:
        """What changes in a pool's conditions without a change of the pool."""
        state = self._allocation
        return (
            state.layout.conflicts.get(name),
            state.held.used[name],
            state.held.free[name],
            bool(state.selection.of_pool[name]),
        )

    async def _tell_pool(self, name: str) -> bool:
        held = self._cluster.ip_pools.get(("", name))
        if held is None or name not in self._allocation.layout.pools:
            return True
        conditions = lbipam_status.merged(held.conditions, verdicts.of_pool(self._allocation, name))
        if conditions == held.conditions:
            return True
        return await self._writer.status(names.LOAD_BALANCER_IP_POOL, ("", name), {"conditions": conditions})


def _shown(service: facts.Service | None) -> list[Address]:
    found = (addresses.parse(one.address) for one in (service.ingress if service is not None else ()) if one.address)
    return [address for address in found if address is not None]
