"""Which Service has which addresses, and how many that leaves each pool. Used by allocation.py, its only writer."""

from collections import Counter
from collections.abc import Collection

from seta_crds.lbipam.addresses import Address, Runs
from seta_crds.lbipam.layout import Layout
from seta_crds.lbipam.requests import Key


class Holdings:
    """An address that several Services share is used once."""

    def __init__(self) -> None:
        self.of: dict[Key, tuple[Address, ...]] = {}  # service -> its addresses, in the order they are shown
        self.used: Counter[str] = Counter()  # pool -> addresses of its that somebody has
        self.free: dict[str, int] = {}  # pool -> addresses that it could give
        self._layout = Layout()
        self._holders: dict[Address, set[Key]] = {}  # address -> who has it
        self._taken = {4: Runs(), 6: Runs()}  # family -> addresses that somebody has

    def holders(self, address: Address) -> Collection[Key]:
        """Who has an address."""
        return self._holders.get(address, ())

    def families(self, key: Key) -> set[int]:
        """Families of which a Service has an address."""
        return {address.family for address in self.of.get(key, ())}

    def lowest_free(self, family: int, first: int, last: int) -> Address | None:
        """The lowest address from first to last that nobody has."""
        number = self._taken[family].gap(first, last)
        return None if number is None else Address(family, number)

    def take(self, key: Key, address: Address) -> None:
        """The Service has it from now on, beside whoever has it already."""
        holders = self._holders.setdefault(address, set())
        if not holders:
            self._taken[address.family].add(address.number)
            self._count(address, 1)
        holders.add(key)
        self.of[key] = (*self.of.get(key, ()), address)

    def give_back(self, key: Key, address: Address) -> None:
        """The Service has it no more."""
        rest = tuple(one for one in self.of[key] if one != address)
        if rest:
            self.of[key] = rest
        else:
            del self.of[key]
        self._holders[address].discard(key)
        if not self._holders[address]:
            del self._holders[address]
            self._taken[address.family].discard(address.number)
            self._count(address, -1)

    def lay_out(self, layout: Layout) -> None:
        """Count by other pools from now on."""
        self._layout = layout
        self.used, self.free = Counter(), dict(layout.total)
        for address in self._holders:
            self._count(address, 1)

    def _count(self, address: Address, by: int) -> None:
        for pool in self._layout.at(address):
            self.used[pool.name] += by
            if pool.gives(address):
                self.free[pool.name] -= by
