"""The policy of this node's endpoints, computed from tables when something about it changed. Called by `endpoints`.

Endpoints of one identity with the same named ports share one result. Nothing is computed before policies and selector
sets have been listed: half a listing would open what the whole one closes.
"""

import dataclasses
from collections.abc import Callable

from seta_agent.desired import policy, ports
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


class PolicyEngine:
    """Dirty are rows of policies, selector sets and slices; `concerned()` says which identities that touches."""

    def __init__(self, tables: Tables, mode: policy.Mode, wake: Callable[[], None]) -> None:
        self._mode = mode
        self._tables = tables
        self._wake = wake
        self.index = policyindex.PolicyIndex(tables)
        self._policies: set[str] = set(tables.policies.keys())  # names of changed rows
        self._sets: set[str] = set(tables.selector_sets.keys())
        self._pods_changed = True
        self._destinations: policy.Destinations = {}  # identity -> named ports of its pods
        self._results: dict[tuple[int, object], EndpointPolicy] = {}  # (identity, named ports) -> result, one pass
        tables.policies.subscribe(self._policy_changed, wake)
        tables.selector_sets.subscribe(self._set_changed, wake)
        tables.remote_pods.subscribe(self._slice_changed)

    @property
    def listed(self) -> bool:
        return self._tables.policies.synced and self._tables.selector_sets.synced

    def concerned(self) -> set[int]:
        """Take over what changed since the last call: the identities whose policy may be another now."""
        found: set[int] = set()
        sets, self._sets = self._sets, set()
        for name in sets:
            found |= self.index.set_changed(name)
        policies, self._policies = self._policies, set()
        for name in policies:
            found |= self.index.policy_changed(name)
        named = self.index.with_named_egress_ports()
        if named and (self._pods_changed or found & named):
            self._destinations = policyindex.destinations(pod for rows in self._tables.remote_pods for pod in rows)
            self._pods_changed = False
            found |= named
        self._results.clear()
        return found

    def of(self, endpoint: Endpoint) -> EndpointPolicy:
        """The policy of an endpoint that has an identity."""
        identity = endpoint.identity or 0
        key = (identity, endpoint.named_ports)
        if key not in self._results:
            self._results[key] = self._compute(identity, policyindex.own_ports(endpoint.named_ports))
        return self._results[key]

    def _compute(self, identity: int, own_ports: ports.Named) -> EndpointPolicy:
        sets = self.index.sets
        ingress, egress = policy.select(self.index.selecting(identity), identity, sets)
        return EndpointPolicy(
            policy.ingress(ingress, self._mode, sets, own_ports),
            policy.egress(egress, self._mode, sets, self._destinations),
        )

    def _policy_changed(self, name: str) -> None:
        self._policies.add(name)
        self._wake()

    def _set_changed(self, name: str) -> None:
        self._sets.add(name)
        self._wake()

    def _slice_changed(self, _name: str) -> None:
        self._pods_changed = True
