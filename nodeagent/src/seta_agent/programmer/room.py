"""Which services fit into the LB maps. Asked by `services` before it wants their entries.

The kernel takes entries until a map is full, in whatever order they come: a service without its slots, or slots
without their service. So services are let in whole, and those for which there is no room are left out and told
(bpf.lbMapMax is too small then); what is in stays in. They are looked at again when others have gone.
"""

from collections.abc import Iterable, Mapping

import structlog

from seta_agent.desired.encode import Entries
from seta_agent.desired.lbids import Owner
from seta_agent.programmer.maps import MapReconciler

Wanted = Mapping[str, Mapping[Owner, Entries]]  # map -> owner -> entries
log = structlog.get_logger()


class Room:
    """Owns the list of services that are left out."""

    def __init__(self) -> None:
        self.left_out: set[Owner] = set()
        self._told = 0

    def let_in(self, reconcilers: Mapping[str, MapReconciler], wanted: Wanted, order: Iterable[Owner]) -> set[Owner]:
        """Want these entries, but for those of services that do not fit: which fit. The others keep what they had.

        `order`: the owners, who comes first where there is not room for all.
        """
        owners = {owner for by_owner in wanted.values() for owner in by_owner}
        tight = [name for name, one in reconcilers.items() if one.room < sum(map(len, wanted[name].values()))]
        for owner in [owner for owner in order if owner in owners] if tight else owners:
            if all(reconcilers[name].fits(owner, wanted[name].get(owner, {})) for name in tight):
                self.left_out.discard(owner)
                for name, reconciler in reconcilers.items():
                    reconciler.set(owner, wanted[name].get(owner, {}))
            else:
                self.left_out.add(owner)
        return owners - self.left_out

    def tell(self) -> None:
        """Once for each number of them."""
        if self.left_out and len(self.left_out) != self._told:
            some = ["/".join(owner) for owner in sorted(self.left_out)[:10]]
            log.error("services_left_out", services=len(self.left_out), some=some, raise_value="bpf.lbMapMax")
        self._told = len(self.left_out)
