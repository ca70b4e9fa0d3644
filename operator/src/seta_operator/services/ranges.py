"""Address ranges' identities: one per distinct prefix that any set names, and per API server outside of the cluster.

Used by membership.py. Users of prefixes are the sets, by name, and the API server.
"""

import structlog

from seta_crds import labels
from seta_operator.services import prefixes
from seta_operator.services.lasting import Lasting
from seta_operator.services.members import Members
from seta_operator.services.prefixes import Prefix
from seta_operator.services.universe import Identity
from seta_operator.store.cluster import Cluster

API_SERVER = "kube-apiserver"
log = structlog.get_logger()


class Ranges:
    """Which prefix has which identity."""

    def __init__(self, cluster: Cluster, members: Members) -> None:
        self._cluster, self._members = cluster, members
        self._prefixes: Lasting[Prefix] = Lasting(labels.CIDR_IDENTITIES)
        self._api_servers: set[Prefix] = set()

    def restore(self) -> None:
        """Take over the identities that are written."""
        first, last = labels.CIDR_IDENTITIES
        for (_, name), held in sorted(self._cluster.identities.items()):
            if not name.isdecimal() or not first <= int(name) <= last:
                continue
            own = held.content.get("security-labels") or {}
            prefix = next((prefixes.parse(key[5:]) for key in own if key.startswith("cidr:")), None)
            if prefix is not None and self._prefixes.restore(int(name), prefix):
                self._members.put(self._identity(int(name), prefix))
            else:
                log.warning("identity.odd", identity=name)

    def use(self, user: str, wanted: set[Prefix]) -> None:
        """The user names exactly these now."""
        for number in sorted(self._prefixes.use(user, wanted)):
            prefix = self._prefixes.thing(number)
            if prefix is not None:
                self._members.put(self._identity(number, prefix))

    def api_servers_are(self, addresses: set[Prefix]) -> None:
        """Where the API server listens, outside of the cluster."""
        before, self._api_servers = self._api_servers, addresses
        self.use(API_SERVER, addresses)
        for prefix in before ^ addresses:
            if number := self._prefixes.held(prefix):
                self._members.put(self._identity(number, prefix))

    def has_left(self, number: int) -> bool:
        """Whether its identity should be there no more."""
        return self._prefixes.has_left(number)

    def collect(self, now: float, grace: float) -> list[int]:
        """Let go what nobody has named for `grace` seconds; what stands for nothing any more."""
        leaving, gone = self._prefixes.collect(now, grace)
        self._members.touch_identities(leaving)
        return gone

    def _identity(self, number: int, prefix: Prefix) -> Identity:
        own = {f"cidr:{prefix.text}": "", "reserved:world": ""}
        if prefix in self._api_servers:
            own["reserved:kube-apiserver"] = ""
        return Identity(number, own, (prefix,))
