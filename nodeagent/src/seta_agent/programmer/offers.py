"""Which backends UDP frontends have, as the tables say. Used by `stale` and what it calls.

Not taken from the service maps: these hold what the node's own clients are to use, by topology and traffic policy. A
backend that they do not lead to (any more) may still be its service's.
"""

from collections.abc import Mapping

from seta_agent.desired.lbids import FIRST as FIRST_OWN_NUMBER
from seta_agent.desired.lbids import Owner
from seta_agent.tables import IPAddress, Service, Table

Place = tuple[IPAddress, int]  # a backend's address and port
Offers = Mapping[int, frozenset[Place]]  # reverse NAT index of a UDP frontend -> its service's backends
NOTHING: Offers = {}


class UdpBackends:
    """What UDP frontends offer, kept as the services change; few services have any."""

    def __init__(self, services: Table[Owner, Service]) -> None:
        self._services = services
        self._of: dict[Owner, Offers] = {}  # service -> its part
        self.left = True  # a backend left a service since this was last set to False; who was there before is unknown
        services.subscribe(self._changed)
        for owner in services.keys():  # noqa: SIM118 - a table iterates over rows
            self._changed(owner)

    def offers(self) -> dict[int, frozenset[Place]]:
        return {number: places for part in self._of.values() for number, places in part.items()}

    def _changed(self, owner: Owner) -> None:
        before, row = self._of.pop(owner, NOTHING), self._services.get(owner)
        now = udp_offers(row) if row else NOTHING
        self.left |= any(places - now.get(number, frozenset()) for number, places in before.items())
        if now:
            self._of[owner] = now


def udp_offers(row: Service) -> Offers:
    return {
        frontend.id: frozenset((backend.address, backend.port) for backend in port.backends)
        for port in row.ports
        if port.protocol == "UDP"
        for frontend in port.frontends
        if frontend.id
    }


def is_offered(offers: Offers, number: int, place: Place) -> bool:
    """Numbers that the node itself gave are not in the tables: there a backend that any service has counts."""
    if number in offers or number < FIRST_OWN_NUMBER:
        return place in offers.get(number, frozenset())
    return any(place in places for places in offers.values())
