"""Who holds which address: told of pools and requests, it decides. The operator's subject and the preview use it.

What is in the Services' status is taken over before anything is given, so that a restart moves nothing. A held address
is taken back only when no pool that serves the Service has it any more, when its family is not the Service's any more,
when the Service asks for others by name and has got them all, or when those it is shared with do not fit any more.
Disabling a pool, a conflict, keeping first and last addresses back, and a selector that cannot be read take nothing.
"""

from collections.abc import Iterable

from seta_crds.lbipam import refusals
from seta_crds.lbipam.addresses import Address
from seta_crds.lbipam.holdings import Holdings
from seta_crds.lbipam.layout import Layout
from seta_crds.lbipam.pools import Pool
from seta_crds.lbipam.requests import Key, Problem, Request, obstacle
from seta_crds.lbipam.selection import Selection


class Allocation:
    """State of all pools and Services. Tell it what changed (`put…`, `drop…`), then `settle`."""

    def __init__(self) -> None:
        self.layout = Layout()
        self.held = Holdings()
        self.selection = Selection()
        self._pools: dict[str, Pool] = {}  # name -> pool
        self._changed: set[str] = set()  # pools that the layout does not know as they are
        self._requests: dict[Key, Request] = {}  # service -> what it asks for
        self._problems: dict[Key, tuple[Problem, ...]] = {}  # service that has not all it asks for -> why
        self._sharing: dict[str, set[Key]] = {}  # sharing key -> services that have it
        self._open: set[Key] = set()  # services to be looked at
        self._touched: set[Key] = set()  # services that may have other addresses or problems since the last settle
        self._freed = False  # something may be had now that could not before

    def put_pool(self, pool: Pool) -> None:
        """A pool is new or changed."""
        if self._pools.get(pool.name) != pool:
            self._pools[pool.name] = pool
            self._changed.add(pool.name)

    def drop_pool(self, name: str) -> None:
        """A pool is gone."""
        if self._pools.pop(name, None) is not None:
            self._changed.add(name)

    def put(self, request: Request) -> None:
        """A Service asks for something, or for something else."""
        self._renew()
        key, before = request.key, self._requests.get(request.key)
        if request == before:
            return
        self._requests[key] = request
        if before is None or before.labels != request.labels:
            self.selection.put(request)
        if before is None or before.sharing.key != request.sharing.key:
            self._unshare(before)
            if request.sharing.key:
                self._sharing.setdefault(request.sharing.key, set()).add(key)
        if request.sharing.key and (before is None or before.sharing != request.sharing):
            self._freed = True  # who waits may share its address now
        self._keep(key)
        self._open.add(key)

    def drop(self, key: Key) -> None:
        """A Service is gone, or somebody else's business."""
        self._renew()
        request = self._requests.pop(key, None)
        if request is None:
            return
        for address in self.held.of.get(key, ()):
            self._give_back(key, address)
        self.selection.drop(key)
        self._unshare(request)
        self._problems.pop(key, None)
        self._open.discard(key)
        self._touched.add(key)

    def problems(self, key: Key) -> tuple[Problem, ...]:
        """Why a Service has not all it asks for; empty: it has."""
        return self._problems.get(key, ())

    def request(self, key: Key) -> Request | None:
        """What a Service asks for."""
        return self._requests.get(key)

    def settle(self) -> set[Key]:
        """Give what can be given; the Services that may have other addresses or problems now.

        First comes what their status says, then what is asked for by name, then what is left: so nobody is given an
        address that another has or names. Within each the oldest comes first.
        """
        self._renew()
        while True:
            if self._freed:
                self._open |= self._problems.keys()
                self._freed = False
            if not self._open:
                break
            batch = sorted((self._requests[key] for key in self._open), key=lambda request: request.rank)
            self._open = set()
            for request in batch:
                self._take_over(request)
            named = {request.key: self._named(request) for request in batch}
            if self._freed:  # by one that got what it named: others may have named that
                self._open = set(named)
                continue
            for request in batch:
                self._finish(request, named[request.key])
        touched, self._touched = self._touched, set()
        return touched

    def _renew(self) -> None:
        """Make the layout be that of the pools, and take back what no pool allows any more."""
        if not self._changed:
            return
        changed, self._changed = self._changed, set()
        self.layout = Layout(self._pools.values())
        for name in changed:
            if pool := self._pools.get(name):
                self.selection.put_pool(pool, self._requests.values())
            else:
                self.selection.drop_pool(name)
        self.held.lay_out(self.layout)
        for key in sorted(self.held.of, key=lambda key: self._requests[key].rank):
            self._keep(key)
        self._freed = True

    def _unshare(self, request: Request | None) -> None:
        if request is not None and request.sharing.key:
            services = self._sharing[request.sharing.key]
            services.discard(request.key)
            if not services:
                del self._sharing[request.sharing.key]

    def _keep(self, key: Key) -> None:
        """Take back what a Service may not have any more."""
        request = self._requests[key]
        for address in self.held.of.get(key, ()):
            if not self._may_have(request, address):
                self._give_back(key, address)
                self._open.add(key)

    def _may_have(self, request: Request, address: Address) -> bool:
        """Whether the address is in a pool that serves the Service, or may, of its family, and not taken by others."""
        pools = self.layout.at(address)
        return (
            address.family in request.families
            and (self._serving(request.key, pools) or any(pool.selector is None for pool in pools))
            and not self._obstacle(request, address)
        )

    def _obstacle(self, request: Request, address: Address) -> tuple[Key, str] | None:
        """Who holds the address and may not share it with the Service, and why."""
        for other in sorted(self.held.holders(address)):
            if other != request.key and (why := obstacle(request.sharing, self._requests[other].sharing)):
                return other, why
        return None

    def _take_over(self, request: Request) -> None:
        """What its status shows, in families of which it has nothing: it was given before a restart, or elsewhere."""
        has = self.held.families(request.key)
        for address in request.shown:
            if address.family not in has and self._may_have(request, address):
                self._take(request.key, address)

    def _named(self, request: Request) -> list[Problem]:
        """Give what it asks for by name, and take back the rest once it has all of a family; what it did not get."""
        found = list(request.wrong)
        missing: set[int] = set()  # families
        for address in request.wanted:
            if address in self.held.of.get(request.key, ()):
                continue
            obstacle_ = self._obstacle(request, address)
            problem = refusals.of_named(self.layout, self.selection.of_pool, request, address, obstacle_)
            if problem is None:
                self._take(request.key, address)
            else:
                missing.add(address.family)
                found.append(problem)
        complete = {address.family for address in request.wanted} - missing
        for address in self.held.of.get(request.key, ()):
            if address.family in complete and address not in request.wanted:
                self._give_back(request.key, address)
        return found

    def _finish(self, request: Request, problems: list[Problem]) -> None:
        """Give any address of each family that it names none of, and note what it could not get."""
        has = self.held.families(request.key)
        named = {address.family for address in request.wanted}
        for family in request.families:
            if family in has | named or request.wrong:
                continue
            address = self._shared(request, family) or self._free(request.key, family)
            if address is not None:
                self._take(request.key, address)
            else:
                problems.append(refusals.of_any(self.layout, self.selection.of_pool, request, family))
        if self._problems.pop(request.key, ()) != tuple(problems):
            self._touched.add(request.key)
        if problems:
            self._problems[request.key] = tuple(problems)

    def _shared(self, request: Request, family: int) -> Address | None:
        """An address that Services with its sharing key have already."""
        group = self._sharing.get(request.sharing.key, ())
        for address in sorted({one for key in group for one in self.held.of.get(key, ()) if one.family == family}):
            givers = (pool for pool in self.layout.at(address) if self.layout.may_give(pool))
            if self._serving(request.key, givers) and not self._obstacle(request, address):
                return address
        return None

    def _serving(self, key: Key, some: Iterable[Pool]) -> bool:
        """Whether one of these pools selects the Service."""
        return any(pool.name in self.selection.of_service[key] for pool in some)

    def _free(self, key: Key, family: int) -> Address | None:
        """The lowest free address of the oldest pool that has one for it."""
        selecting = (self._pools[name] for name in self.selection.of_service[key])
        for pool in sorted(filter(self.layout.may_give, selecting), key=lambda pool: pool.rank):
            for block in pool.blocks:
                if block.family == family:
                    address = self.held.lowest_free(family, block.gives_first, block.gives_last)
                    if address is not None:
                        return address
        return None

    def _take(self, key: Key, address: Address) -> None:
        self.held.take(key, address)
        self._touched.add(key)

    def _give_back(self, key: Key, address: Address) -> None:
        self.held.give_back(key, address)
        self._freed = True
        self._touched.add(key)


def allocation(pools: Iterable[Pool], requests: Iterable[Request]) -> Allocation:
    """A settled allocation of these."""
    made = Allocation()
    for pool in pools:
        made.put_pool(pool)
    for request in requests:
        made.put(request)
    made.settle()
    return made
