"""What a change costs: the writes that the API server saw the operator make, by its audit log.

A pod of a known identity: none. A new identity: the sets it belongs to. A policy: its own object, and sets that come or
go. A node: its own objects, and policies that are about it. Nodes' reports: one condition per policy, however many
nodes report.
"""

import json
import time
from collections import Counter
from typing import Any

import pytest

from seta_crds import names
from seta_operator.store import leadership
from tests.api.client import Client
from tests.api.controlplane import ControlPlane, Operator, eventually
from tests.api.test_restart import node, numbers, pod, policy

JSON = dict[str, Any]
Write = tuple[str, str, str]  # verb, resource with subresource, name
POLICIES = 20
QUIET = 0.3  # seconds


class Costs:
    """Writes since the last time somebody asked."""

    def __init__(self, plane: ControlPlane, api: Client) -> None:
        self._log, self._api = plane.audit_log, api
        self._position = self._log.stat().st_size

    def reset(self) -> None:
        """Forget what was written until now, once all of it is."""
        self.spent()

    def spent(self) -> Counter[Write]:
        """What was written until now, once the operator is done with it: a pod that comes last has its identity, and
        nothing more is written.
        """
        probe = f"probe-{self._log.stat().st_size}"
        self._api.apply({**pod(probe), "metadata": {"name": probe, "namespace": "team-b", "labels": {"app": probe}}})
        eventually(lambda: f"team-b: app={probe}" in numbers(self._api), 20, "the probe's identity")
        number = str(numbers(self._api)[f"team-b: app={probe}"])
        found: Counter[Write] = Counter()
        eventually(lambda: self._read(found)["create", "ciliumidentities", number] > 0, 10, "the probe's own write")
        before = -1
        while before < (before := found.total()):  # other subjects may be later than the probe's
            time.sleep(QUIET)
            self._read(found)
        del found["create", "ciliumidentities", number]
        return found

    def _read(self, found: Counter[Write]) -> Counter[Write]:
        with self._log.open() as log:
            log.seek(self._position)
            while (line := log.readline()).endswith("\n"):
                self._position = log.tell()
                event = json.loads(line)
                done = event["stage"] == "ResponseComplete" and event["responseStatus"]["code"] < 300
                place = event.get("objectRef", {})
                renewal = place.get("name") == leadership.NAME
                if done and not renewal and event["verb"] in {"create", "update", "patch", "delete"}:
                    resource = "/".join(part for part in (place["resource"], place.get("subresource")) if part)
                    found[event["verb"], resource, place["name"]] += 1
        return found


def selector_set(api: Client, text: str) -> str:
    return next(one["metadata"]["name"] for one in api.list(names.SELECTOR_SET) if one["spec"]["selector"] == text)


def of(app: str) -> str:
    return f"any:app={app},k8s:io.kubernetes.pod.namespace=default"


@pytest.fixture
def costs(plane: ControlPlane, operator: Operator, api: Client) -> Costs:
    for n in range(POLICIES):
        api.apply(policy(f"p{n:02}", app=f"a{n:02}"))
    for n in range(3):
        api.apply(pod(f"a{n:02}"))
    eventually(lambda: len(api.list(names.COMPILED_POLICY)) == POLICIES, 20, "policies compiled")
    costs = Costs(plane, api)
    costs.reset()
    return costs


def test_a_pod_of_a_known_identity_costs_nothing(costs: Costs, api: Client) -> None:
    for n in range(5):
        api.apply({**pod(f"more-{n}"), "metadata": {"name": f"more-{n}", "labels": {"app": "a00"}}})
    assert costs.spent() == Counter()


def test_a_new_identity_costs_itself_and_the_sets_it_belongs_to(costs: Costs, api: Client) -> None:
    api.apply(pod("a07", crew="x"))
    spent = costs.spent()
    number = str(numbers(api)["default: app=a07,crew=x"])
    belongs = selector_set(api, of("a07"))
    assert spent == Counter({("create", "ciliumidentities", number): 1, ("update", "selectorsets", belongs): 1})


def test_a_changed_policy_costs_itself_its_sets_and_its_condition(costs: Costs, api: Client) -> None:
    gone = selector_set(api, of("a07"))
    api.apply(policy("p07", app="other"))
    spent = costs.spent()
    new = selector_set(api, of("other"))
    told = {write: count for write, count in spent.items() if write[1].endswith("/status")}
    assert spent - Counter(told) == Counter(
        {
            ("create", "selectorsets", new): 1,
            ("update", "compiledpolicies", "cnp.default.p07"): 1,
            ("delete", "selectorsets", gone): 1,
        }
    )
    assert told.keys() <= {("patch", "ciliumnetworkpolicies/status", "p07")}


def test_a_range_costs_its_identity_and_the_sets_around_it(costs: Costs, api: Client) -> None:
    def egress(name: str, *cidrs: str) -> JSON:
        spec = {"endpointSelector": {"matchLabels": {"app": "a00"}}, "egress": [{"toCIDR": list(cidrs)}]}
        return {"kind": "CiliumNetworkPolicy", "metadata": {"name": name}, "spec": spec}

    api.apply(egress("wide", "10.0.0.0/8"))
    api.apply(egress("elsewhere", "192.0.2.0/24"))
    costs.reset()
    api.apply(egress("narrow", "10.1.0.0/16"))
    spent = {write for write in costs.spent() if not write[1].endswith("/status")}
    assert spent == {
        ("create", "selectorsets", selector_set(api, "cidr:10.1.0.0/16")),
        ("update", "selectorsets", selector_set(api, "cidr:10.0.0.0/8")),
        ("create", "ciliumidentities", str(numbers(api)["cidr:10.1.0.0/16"])),
        ("create", "compiledpolicies", "cnp.default.narrow"),
    }


def test_a_node_that_joins_costs_its_own_object_and_policies_about_it(costs: Costs, api: Client) -> None:
    hosts = {"nodeSelector": {"matchLabels": {"pool": "fast"}}, "ingress": [{"fromCIDR": ["192.0.2.0/24"]}]}
    api.apply({"kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "hosts"}, "spec": hosts})
    costs.reset()
    api.apply(node("slow", 101))
    eventually(lambda: bool(api.list(names.CILIUM_NODE)), 10, "the CiliumNode")
    spent = {write for write in costs.spent() if not write[1].endswith("/status")}
    assert spent == {("create", "ciliumnodes", "slow")}
    fast = node("fast", 102)
    api.apply({**fast, "metadata": {"name": "fast", "labels": {"pool": "fast"}}})
    eventually(lambda: len(api.list(names.CILIUM_NODE)) == 2, 10, "the CiliumNode")
    spent = {write for write in costs.spent() if not write[1].endswith("/status")}
    assert spent == {("create", "ciliumnodes", "fast"), ("update", "compiledpolicies", "ccnp.hosts")}


def test_a_service_costs_its_table_and_a_changed_endpoint_one_write_of_it(costs: Costs, api: Client) -> None:
    def endpoints(count: int) -> JSON:
        meta = {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}
        listed = [{"addresses": [f"10.0.1.{n}"], "conditions": {"ready": True}} for n in range(1, count + 1)]
        ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
        return {"kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": listed}

    def spent() -> Counter[Write]:
        """Policies may still be told what nodes do."""
        return Counter({write: n for write, n in costs.spent().items() if not write[1].endswith("/status")})

    def table() -> list[int]:
        """How many backends it lists: it is written a moment after the change, and perhaps after the probe."""
        found = [one for one in api.list(names.SERVICE_TABLE) if one["metadata"]["name"] == "web"]
        return [len(port.get("backends", ())) for one in found for port in one["spec"]["ports"]]

    spec = {"ports": [{"name": "http", "port": 80}]}
    api.apply({"kind": "Service", "metadata": {"name": "web"}, "spec": spec})
    eventually(lambda: table() == [0], 10, "the table")
    assert spent() == Counter({("create", "servicetables", "web"): 1})
    for count in (5, 4):
        api.apply(endpoints(count))
        eventually(lambda: table() == [count], 10, "the table")  # noqa: B023 (called at once)
        assert spent() == Counter({("update", "servicetables", "web"): 1})
    api.apply(endpoints(4))
    assert spent() == Counter()


def test_reports_of_nodes_cost_one_condition_per_policy(costs: Costs, api: Client) -> None:
    nodes = ("w1", "w2")  # as many as there are pod CIDRs
    for number, name in enumerate(nodes):
        api.apply(node(name, number + 1))
    eventually(lambda: _told(api, "0 of 2 nodes") or _told(api, "0 of 1 nodes"), 20, "policies tell how few nodes do")
    costs.reset()
    generation = {f"cnp.default.p{n:02}": 1 for n in range(POLICIES)}
    for name in nodes:
        api.apply({"kind": "NodePolicyStatus", "metadata": {"name": name}, "status": {"enforced": generation}})
    eventually(lambda: _told(api, "2 of 2 nodes enforce revision 1"), 20, "all nodes enforce all policies")
    spent = Counter((verb, resource) for verb, resource, _ in costs.spent().elements())
    assert spent == Counter({("patch", "ciliumnetworkpolicies/status"): POLICIES})


def _told(api: Client, words: str) -> bool:
    conditions = (one.get("status", {}).get("conditions", []) for one in api.list(names.NETWORK_POLICY))
    return all(any(words in one["message"] for one in some) for some in conditions)
