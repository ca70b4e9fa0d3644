"""Which nodes may be answering for which address: no other node is given it while one may. Pure; used by l2.py.

A node may be answering from the moment that its NodeAnnouncements are to be written with an address, until it is proved
that it does not: its agent has reported a generation without the address, or it is dead. What is tried counts as done
as long as the write's answer is missing, and what was written before a restart counts too.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Node:
    uid: str = ""  # of its NodeAnnouncements
    listed: AbstractSet[str] = frozenset()  # addresses in what was written last, or tried
    leaving: dict[str, int] = field(default_factory=dict)  # address -> first generation without it; UNWRITTEN: none yet
    unknown: int = 0  # generation before which it may have been anything; 0: all is known


UNWRITTEN = 0


class Exposure:
    """The nodes that have, or had, something to announce."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._exposed: dict[str, set[str]] = {}  # address -> nodes that may be answering for it
        self._unknown: set[str] = set()  # nodes that may be answering for anything

    def restore(self, node: str, uid: str, generation: int, addresses: AbstractSet[str]) -> None:
        """What was written before a restart; what stood there before that, nobody knows until the node reports."""
        self._nodes[node] = _Node(uid, unknown=generation)
        self._unknown.add(node)
        self.attempt(node, addresses)

    def free(self, address: str, node: str) -> bool:
        """Whether the node may list it: no other node may be answering for it, or the node does already."""
        held = self._nodes.get(node)
        if held is not None and address in held.listed:
            return True
        return not self._exposed.get(address, set()) - {node} and not self._unknown - {node}

    def attempt(self, node: str, addresses: AbstractSet[str]) -> None:
        """The node's list is about to be written with these addresses."""
        held = self._nodes.setdefault(node, _Node())
        for address in held.listed - addresses:
            held.leaving[address] = UNWRITTEN
        for address in addresses:
            held.leaving.pop(address, None)
            self._exposed.setdefault(address, set()).add(node)
        held.listed = frozenset(addresses)

    def saw(self, node: str, addresses: AbstractSet[str]) -> None:
        """Somebody else has written these into its list."""
        held = self._nodes.setdefault(node, _Node())
        for address in addresses - held.listed:
            held.leaving[address] = UNWRITTEN
            self._exposed.setdefault(address, set()).add(node)

    def written(self, node: str, uid: str, generation: int) -> None:
        """What was attempted is written, as this generation of the object with this uid."""
        held = self._nodes.setdefault(node, _Node())
        anew = uid != held.uid  # somebody had deleted it: generations count from one again
        held.uid = uid
        for address, since in held.leaving.items():
            if anew or since == UNWRITTEN:
                held.leaving[address] = generation
        if anew and held.unknown:
            held.unknown = generation

    def reported(self, node: str, uid: str, generation: int) -> bool:
        """The node has put this into effect; whether an address became free."""
        held = self._nodes.get(node)
        if held is None or uid != held.uid or not uid:
            return False
        known = 0 < held.unknown <= generation
        if known:
            held.unknown = 0
            self._unknown.discard(node)
        return self._let_go(node, held, generation) or known

    def cleared(self, node: str) -> bool:
        """It answers for nothing that its list, as written, does not hold; whether an address became free."""
        held = self._nodes.get(node)
        if held is None:
            return False
        known, held.unknown = bool(held.unknown), 0
        self._unknown.discard(node)
        return self._let_go(node, held, max(held.leaving.values(), default=0)) or known

    def waiting(self) -> set[str]:
        """Nodes of which something is to be proved, and can be: it is written."""
        return self._unknown | {
            name for name, held in self._nodes.items() if any(since != UNWRITTEN for since in held.leaving.values())
        }

    def idle(self, node: str) -> bool:
        """Whether it answers for nothing, and this is proved."""
        held = self._nodes.get(node)
        return held is None or not (held.listed or held.leaving or held.unknown)

    def forget(self, node: str) -> None:
        """Its NodeAnnouncements are deleted, when it was idle."""
        self._nodes.pop(node, None)

    def _let_go(self, node: str, held: _Node, generation: int) -> bool:
        gone = [address for address, since in held.leaving.items() if UNWRITTEN < since <= generation]
        for address in gone:
            del held.leaving[address]
            self._exposed[address].discard(node)
            if not self._exposed[address]:
                del self._exposed[address]
        return bool(gone)
