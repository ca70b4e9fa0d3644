"""Selector sets as another node sees them. Called by `explain`, which answers for all nodes; pure.

Only on the API server's own node is the host a member of the sets that speak of the API server.
"""

from collections.abc import Iterator, Mapping

from seta_agent.programmer import policyindex
from seta_agent.tables import SelectorSet, Table


class SetsAt(Mapping[str, frozenset[int]]):
    """Those in force here, with the members that they have on a node. `known`: as the operator wrote them."""

    def __init__(
        self, in_force: Mapping[str, frozenset[int]], known: Table[str, SelectorSet], *, is_api_server: bool
    ) -> None:
        self._in_force = in_force
        self._known = known
        self._is_api_server = is_api_server

    def __getitem__(self, name: str) -> frozenset[int]:
        row = self._known.get(name)
        if row is None or name not in self._in_force:
            return self._in_force[name]
        return policyindex.members(row, is_api_server=self._is_api_server)

    def __iter__(self) -> Iterator[str]:
        return iter(self._in_force)

    def __len__(self) -> int:
        return len(self._in_force)
