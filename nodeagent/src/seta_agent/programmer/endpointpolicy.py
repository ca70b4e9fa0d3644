"""The policy of this node's endpoints, computed from tables when something about it changed. Called by `endpoints`.

Endpoints of one identity with the same named ports share one result. Nothing is to be computed before
`tables.policy_listed`.
"""

import collections
import dataclasses
from collections.abc import Callable

from seta_agent.desired import hostpolicy, policy, ports
from seta_agent.programmer import policyindex
from seta_agent.tables import Endpoint, Tables

INGRESS, EGRESS = False, True


@dataclasses.dataclass(frozen=True, slots=True)
class EndpointPolicy:
    ingress: policy.DirectionResult
    egress: policy.DirectionResult

    @property
    def by_egress(self) -> dict[bool, policy.DirectionResult]:
        return {INGRESS: self.ingress, EGRESS: self.egress}

    @property
    def outline(self) -> "EndpointPolicy":
        """Without the entries, which are thousands."""
        return EndpointPolicy(*(dataclasses.replace(one, entries={}) for one in (self.ingress, self.egress)))


class PolicyEngine:
    """Dirty are rows of policies, selector sets and identities; `concerned()` says which identities that touches."""

    def __init__(self, tables: Tables, mode: policy.Mode, node_name: str, wake: Callable[[], None]) -> None:
        self._mode = mode
        self._tables = tables
        self._node_name = node_name
        self._wake = wake
        self.index = policyindex.PolicyIndex(tables)
        self._policies: set[str] = set(tables.policies.keys())  # names of changed rows
        self._sets: set[str] = set(tables.selector_sets.keys())
        self._identities: set[int] = set(tables.identities.keys())
        self._named: dict[int, ports.Named] = {}  # identity -> named ports of its pods
        self._results: dict[tuple[int, object], EndpointPolicy] = {}  # (identity, named ports) -> result, one pass
        self._host_changed = True
        tables.policies.subscribe(self._policy_changed, wake)
        tables.selector_sets.subscribe(self._set_changed, wake)
        tables.identities.subscribe(self._identities.add, wake)
        tables.nodes.subscribe(self._surroundings_changed)
        tables.admitted.subscribe(self._surroundings_changed)
        tables.services.subscribe(
            lambda key: self._surroundings_changed(key) if key == hostpolicy.API_SERVICE else None
        )

    @property
    def mode(self) -> policy.Mode:
        return self._mode

    @property
    def host_mode(self) -> policy.Mode:
        """Of the node's own traffic: what no policy selects is never closed, also where pods are."""
        return "never" if self._mode == "never" else "default"

    @property
    def named_ports(self) -> policy.Destinations:
        """Identity -> named ports of its pods."""
        return self._named

    def concerned(self) -> set[int]:
        """Take over what changed since the last call: the identities whose policy may be another now."""
        found: set[int] = set()
        own = self._tables.nodes.get(self._node_name)
        self._sets |= self.index.own_node_changed(is_api_server=own is not None and own.kube_apiserver)
        self._host_changed |= bool(self._sets or self._policies)
        sets, self._sets = self._sets, set()
        for name in sets:
            found |= self.index.set_changed(name)
        policies, self._policies = self._policies, set()
        for name in policies:
            found |= self.index.policy_changed(name)
        if self._take_names():
            found |= self.index.with_named_egress_ports()
            self._host_changed = True
        self._results.clear()
        return found

    def settle(self) -> None:
        """All endpoints have their policy: what was computed for them is in the maps now."""
        self._results.clear()

    def of(self, endpoint: Endpoint) -> EndpointPolicy:
        """The policy of an endpoint that has an identity."""
        identity = endpoint.identity or 0
        key = (identity, endpoint.named_ports)
        if key not in self._results:
            self._results[key] = self._compute(identity, policyindex.own_ports(endpoint.named_ports))
        return self._results[key]

    def host(self, tunnel_port: int = 8472) -> EndpointPolicy:
        """The policy of the node's own traffic: enforced only where one selects it, also where pods' always is."""
        found = policy.select_node(self.index.selecting_node(self._node_name), self._node_name)
        around = hostpolicy.around(self._tables, self._node_name)
        rules = hostpolicy.with_safeguards(*found, around, tunnel_port)
        return self._flatten(*rules, self.host_mode, {}, around.sets)

    def take_host_changed(self) -> bool:
        """Whether `host()` may say something else than when this was last asked."""
        changed, self._host_changed = self._host_changed, False
        return changed

    def _compute(self, identity: int, own_ports: ports.Named) -> EndpointPolicy:
        rules = policy.select(self.index.selecting(identity), identity, self.index.sets)
        return self._flatten(*rules, self._mode, own_ports)

    def _flatten(
        self,
        ingress: policy.Rules,
        egress: policy.Rules,
        mode: policy.Mode,
        own_ports: ports.Named,
        more_sets: policy.Sets | None = None,
    ) -> EndpointPolicy:
        sets = collections.ChainMap(self.index.sets, dict(more_sets)) if more_sets else self.index.sets
        return EndpointPolicy(
            policy.ingress(ingress, mode, sets, own_ports), policy.egress(egress, mode, sets, self._named)
        )

    def _take_names(self) -> bool:
        """Whether what ports are called changed."""
        numbers, changed = list(self._identities), False
        self._identities.clear()
        for number in numbers:
            row = self._tables.identities.get(number)
            named = policyindex.named_ports(row.labels) if row else {}
            if named != self._named.get(number, {}):
                changed = True
                self._named[number] = named
                if not named:
                    del self._named[number]
        return changed

    def _surroundings_changed(self, _key: object) -> None:
        self._host_changed = True
        self._wake()

    def _policy_changed(self, name: str) -> None:
        self._policies.add(name)
        self._wake()

    def _set_changed(self, name: str) -> None:
        self._sets.add(name)
        self._wake()
