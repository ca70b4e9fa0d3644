"""Which policies are in force, and whose endpoints a change concerns. Called by the endpoint stage.

The API server's streams are not ordered among each other, so a policy may come before the selector sets it refers to,
and a set may go before the policy that used it. A policy whose subjects are not all known has not yet arrived: until
then the version before stays in force. A set stays as long as a policy in force refers to it.
"""

from collections.abc import Iterable

from seta_agent.desired import policy, ports
from seta_agent.tables import Policy, PolicyRule, ReservedIdentity, SelectorSet, Tables
from seta_crds import labels

API_SERVER, REMOTE_NODE = ReservedIdentity.KUBE_APISERVER, ReservedIdentity.REMOTE_NODE
Identities = set[int]
NAMED_PORTS = f"k8s:{labels.NAMED_PORTS}="


class PolicyIndex:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.sets: dict[str, frozenset[int]] = {}  # selector set -> identities
        self._is_api_server = False  # whether the API server listens on this node's own address
        self._policies: dict[str, Policy] = {}  # compiled policy name -> the version in force
        self._waiting: set[str] = set()  # names of policies of which a subject is unknown
        self._users: dict[str, set[str]] = {}  # selector set -> names of policies in force that refer to it
        self._by_port_name: set[str] = set()  # names of policies in force whose egress names ports

    @property
    def waiting(self) -> frozenset[str]:
        return frozenset(self._waiting)

    def selecting(self, identity: int) -> list[Policy]:
        """The policies with a rule for an identity, by name: the order is the same after a restart."""
        chosen = {
            name
            for subject, names in self._users.items()
            if identity in self.sets.get(subject, ())
            for name in names
            if any(rule.subject == subject for rule in self._policies[name].rules)
        }
        return [self._policies[name] for name in sorted(chosen)]

    def policy_changed(self, name: str) -> Identities:
        """Take over a row of `tables.policies`: the identities whose policy may be another now."""
        row = self._tables.policies.get(name)
        if row and any(self._lacks_subject(rule) for rule in row.rules):
            self._waiting.add(name)
            return set()
        self._waiting.discard(name)
        concerned = self._subjects(name)
        let_go = self._forget(name)
        if row:
            self._install(row)
        self._prune(let_go)
        return concerned | self._subjects(name)

    def set_changed(self, name: str) -> Identities:
        """Take over a row of `tables.selector_sets`, and whichever policies waited for it."""
        row = self._tables.selector_sets.get(name)
        old = self.sets.get(name, frozenset())
        if row is None:
            if name not in self._users:
                self.sets.pop(name, None)
            return set()
        self.sets[name] = now = members(row, is_api_server=self._is_api_server)
        concerned: Identities = set()
        for user in self._users.get(name, ()):
            rules = self._policies[user].rules
            if any(rule.subject == name for rule in rules):
                concerned |= old ^ now
            if name in _peers_of(self._policies[user]):
                concerned |= self._subjects(user)
        for waiting in [one for one in self._waiting if self._waits_for(one, name)]:
            concerned |= self.policy_changed(waiting)
        return concerned

    def own_node_changed(self, *, is_api_server: bool) -> set[str]:
        """Take over whether this node is the API server's: the sets that have other members now.

        They are to be taken over again by `set_changed`.
        """
        if is_api_server == self._is_api_server:
            return set()
        self._is_api_server = is_api_server
        return {row.name for row in self._tables.selector_sets if API_SERVER in row.identities}

    def selecting_node(self, name: str) -> list[Policy]:
        """The policies in force with a rule for a node's own traffic, by name."""
        found = (row for row in self._policies.values() if any(name in (rule.nodes or ()) for rule in row.rules))
        return sorted(found, key=lambda row: row.name)

    def generations(self) -> dict[str, int]:
        """Name of each policy in force -> the generation of its source."""
        return {name: row.generation for name, row in self._policies.items()}

    def with_named_egress_ports(self) -> Identities:
        """The identities whose egress depends on what ports of other pods are called."""
        return set().union(*(self._subjects(name) for name in self._by_port_name))

    def _lacks_subject(self, rule: PolicyRule) -> bool:
        return rule.nodes is None and rule.subject not in self.sets

    def _subjects(self, name: str) -> Identities:
        row = self._policies.get(name)
        subjects = {rule.subject for rule in row.rules if rule.nodes is None} if row else set()
        return set().union(*(self.sets.get(subject, frozenset()) for subject in subjects))

    def _waits_for(self, policy_name: str, set_name: str) -> bool:
        row = self._tables.policies.get(policy_name)
        return row is not None and any(rule.subject == set_name for rule in row.rules)

    def _install(self, row: Policy) -> None:
        self._policies[row.name] = row
        for used in _sets_of(row):
            self._users.setdefault(used, set()).add(row.name)
        if _names_egress_ports(row):
            self._by_port_name.add(row.name)

    def _forget(self, name: str) -> set[str]:
        """The sets that the policy referred to."""
        old = self._policies.pop(name, None)
        self._by_port_name.discard(name)
        used = _sets_of(old) if old else set()
        for one in used:
            self._users[one].discard(name)
            if not self._users[one]:
                del self._users[one]
        return used

    def _prune(self, names: Iterable[str]) -> None:
        """Sets that were kept for a policy which is gone now."""
        for name in names:
            if name not in self._users and self._tables.selector_sets.get(name) is None:
                self.sets.pop(name, None)


def members(row: SelectorSet, *, is_api_server: bool) -> frozenset[int]:
    """The identities of a set as a node sees them: its own address is the host, also where that is the API server.

    Sets that have remote nodes as such are of others.
    """
    if is_api_server and API_SERVER in row.identities and REMOTE_NODE not in row.identities:
        return row.identities | {ReservedIdentity.HOST}
    return row.identities


def named_ports(found: Iterable[str]) -> ports.Named:
    """(port name, protocol) -> its number, of an identity's labels: pods of one identity name their ports alike."""
    texts = [label.removeprefix(NAMED_PORTS) for label in found if label.startswith(NAMED_PORTS)]
    named: dict[tuple[str, str], tuple[int]] = {}  # (port name, protocol) -> number
    for one in texts[0].split(",") if texts else ():
        name, _, port = one.partition("=")
        name, _, port = one.partition("=")
        number, _, protocol = port.partition("/")
        named[name, protocol] = (int(number),)
    return named


def own_ports(named: Iterable[tuple[str, int, str]]) -> ports.Named:
    """An endpoint's named ports as the policy code wants them; where a name is there twice the first counts."""
    found: dict[tuple[str, str], tuple[int]] = {}  # (port name, protocol) -> number
    for name, number, protocol in named:
        found.setdefault((name, protocol), (number,))
    return found


def _sets_of(row: Policy) -> set[str]:
    return {rule.subject for rule in row.rules if rule.nodes is None} | _peers_of(row)


def _peers_of(row: Policy) -> set[str]:
    directions = [d for rule in row.rules for d in (rule.ingress, rule.egress) if d]
    return {name for direction in directions for entry in direction.entries for name in entry.peers or ()}


def _names_egress_ports(row: Policy) -> bool:
    entries = (entry for rule in row.rules if rule.egress for entry in rule.egress.entries)
    return any(policy.names_ports(entry) for entry in entries)
