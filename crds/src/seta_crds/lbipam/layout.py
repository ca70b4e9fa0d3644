"""All pools beside each other: which are in conflict, which of them have an address. Made anew when a pool changes.

Used by allocation.py.
"""

import bisect
from collections.abc import Iterable

from seta_crds.lbipam.addresses import Address, Block
from seta_crds.lbipam.pools import Pool

Edge = tuple[int, int, int, int, str]  # family, number, 0 = ends before it or 1 = begins there, rank, pool


class Layout:
    """Immutable once made."""

    def __init__(self, pools: Iterable[Pool] = ()) -> None:
        self.pools = {pool.name: pool for pool in sorted(pools, key=lambda pool: pool.rank)}  # name -> pool; by rank
        self.conflicts = self._conflicts()  # pool -> why it gives nothing
        self.total = {name: _size(pool) for name, pool in self.pools.items()}  # pool -> how many addresses it may give
        self._starts, self._there = self._pieces()

    def at(self, address: Address) -> tuple[Pool, ...]:
        """The pools that have the address, by rank."""
        piece = bisect.bisect_right(self._starts, address) - 1
        return self._there[piece] if piece >= 0 else ()

    def may_give(self, pool: Pool) -> bool:
        """Whether it gives addresses at all."""
        return not pool.disabled and pool.name not in self.conflicts

    def _conflicts(self) -> dict[str, str]:
        """The oldest pool counts: who overlaps an older one that is in no conflict itself gives nothing."""
        found: dict[str, str] = {}
        starts: list[tuple[int, int]] = []  # (family, first) of the blocks without conflict, ascending
        blocks: list[tuple[Block, str]] = []  # the same blocks, and whose they are
        for pool in self.pools.values():
            own = sorted(pool.blocks, key=lambda block: (block.family, block.first))
            for one, other, whose in [*_inside(own, pool.name), *_against(own, starts, blocks)][:1]:
                found[pool.name] = (
                    f"Pool conflicts since range '{one.text}' overlaps range '{other.text}' from IP Pool '{whose}'"
                )
            for block in own if pool.name not in found else ():
                at = bisect.bisect(starts, (block.family, block.first))
                starts.insert(at, (block.family, block.first))
                blocks.insert(at, (block, pool.name))
        return found

    def _pieces(self) -> tuple[list[Address], list[tuple[Pool, ...]]]:
        """Start of each piece of the address space, and the pools there."""
        edges: list[Edge] = []
        for rank, pool in enumerate(self.pools.values()):
            for block in pool.blocks:
                edges.append((block.family, block.first, 1, rank, pool.name))
                edges.append((block.family, block.last + 1, 0, rank, pool.name))
        starts: list[Address] = []
        there: list[tuple[Pool, ...]] = []
        count: dict[tuple[int, str], int] = {}  # (rank, pool) -> blocks of it that are open
        for family, number, begins, rank, name in sorted(edges):
            count[rank, name] = count.get((rank, name), 0) + (1 if begins else -1)
            if not count[rank, name]:
                del count[rank, name]
            if starts and starts[-1] == (family, number):
                starts.pop()
                there.pop()
            starts.append(Address(family, number))
            there.append(tuple(self.pools[name] for _, name in sorted(count)))
        return starts, there


def _inside(own: list[Block], name: str) -> Iterable[tuple[Block, Block, str]]:
    """Overlaps among one pool's blocks, which are sorted."""
    highest: Block | None = None
    for block in own:
        if highest is not None and highest.family == block.family and block.first <= highest.last:
            yield block, highest, name
        if highest is None or highest.family != block.family or block.last > highest.last:
            highest = block


def _against(
    own: list[Block], starts: list[tuple[int, int]], blocks: list[tuple[Block, str]]
) -> Iterable[tuple[Block, Block, str]]:
    """Overlaps with blocks that do not overlap each other: only the neighbours can be concerned."""
    for block in own:
        at = bisect.bisect(starts, (block.family, block.first))
        for other, whose in blocks[max(0, at - 1) : at + 1]:
            if other.family == block.family and other.first <= block.last and block.first <= other.last:
                yield block, other, whose


def _size(pool: Pool) -> int:
    """Different addresses that it may give."""
    size, family, reached = 0, 0, -1
    for block in sorted(pool.blocks, key=lambda block: (block.family, block.gives_first)):
        if block.family != family:
            family, reached = block.family, -1
        size += max(0, block.gives_last - max(block.gives_first - 1, reached))
        reached = max(reached, block.gives_last)
    return size
