"""Ranges, nodes and the API server: their identities, in the right order, and as before after a restart."""

from typing import Any

import pytest

from seta_crds import labels, names
from seta_operator.services import policy, verdicts
from tests.unit.operator.fakes import Bench, Subjects, settle_all

CIDR, NODE = str(labels.CIDR_IDENTITIES[0]), str(labels.NODE_IDENTITIES[0])


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.seen(names.NAMESPACE, "ns")
    return made


def rule(bench: Bench, name: str, generation: int = 1, **spec: Any) -> None:
    body = {"endpointSelector": {}, **spec}
    bench.seen(names.NETWORK_POLICY, name, "ns", metadata={"generation": generation}, spec=body)


def node(bench: Bench, name: str, address: str, **own: str) -> None:
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    bench.seen(names.NODE, name, metadata={"labels": own, "uid": name}, status=status)


def api_server(bench: Bench, address: str) -> None:
    meta = {"labels": {"kubernetes.io/service-name": "kubernetes"}}
    bench.seen(names.ENDPOINT_SLICE, "kubernetes", "default", metadata=meta, endpoints=[{"addresses": [address]}])


def sets(bench: Bench) -> dict[str, list[int]]:
    return {one["spec"]["selector"]: one["spec"]["identities"] for one in bench.api.of(names.SELECTOR_SET).values()}


def writes(bench: Bench) -> list[tuple[str, str]]:
    found = [(verb, kind) for verb, kind, _ in bench.api.calls if verb != "get"]
    bench.api.calls.clear()
    return found


async def test_a_range_is_in_its_sets_before_it_has_an_identity(bench: Bench) -> None:
    it = Subjects(bench)
    rule(bench, "p", egress=[{"toCIDR": ["10.0.0.0/8"]}])
    await settle_all(it)
    assert [kind for _, kind in writes(bench)][:4] == ["SelectorSet"] * 2 + ["CiliumIdentity", "CompiledPolicy"]
    identity = bench.api.of(names.IDENTITY)[CIDR]
    assert identity["security-labels"] == {"cidr:10.0.0.0/8": "", "reserved:world": ""}
    assert "labels" not in identity["metadata"]
    listed = identity["metadata"]["annotations"][names.SELECTOR_SETS_ANNOTATION]
    assert [bench.api.of(names.SELECTOR_SET)[name]["spec"]["selector"] for name in listed.split(",")] == [
        "cidr:10.0.0.0/8"
    ]


async def test_a_range_that_goes_loses_its_identity_before_its_sets_lose_it(bench: Bench) -> None:
    it = Subjects(bench, grace=0)
    rule(bench, "wide", egress=[{"toCIDR": ["10.0.0.0/8"]}])
    rule(bench, "narrow", egress=[{"toCIDR": ["10.1.0.0/16"]}])
    await settle_all(it)
    first, last = sorted(bench.api.of(names.IDENTITY))
    narrow = next(
        name for name in (first, last) if "cidr:10.1.0.0/16" in bench.api.of(names.IDENTITY)[name]["security-labels"]
    )
    bench.gone(names.NETWORK_POLICY, "narrow", "ns")
    it.mark(policy.COLLECT)
    await settle_all(it)
    assert narrow not in bench.api.of(names.IDENTITY)
    assert int(narrow) in sets(bench)["cidr:10.0.0.0/8"]
    it.mark(policy.COLLECT)
    await settle_all(it)
    assert int(narrow) not in sets(bench)["cidr:10.0.0.0/8"]


async def test_numbers_of_ranges_and_nodes_survive_a_restart(bench: Bench) -> None:
    for number in (1, 2, 3):
        node(bench, f"w{number}", f"192.168.10.10{number}", pool=str(number))
    rule(bench, "p", egress=[{"toCIDR": ["10.0.0.0/8", "192.0.2.0/24"]}], ingress=[{"fromNodes": [{}]}])
    first = Subjects(bench)
    first.start()
    await settle_all(first)
    await settle_all(first)
    known = bench.api.of(names.IDENTITY)
    assert len(known) == 5
    writes(bench)
    second = Subjects(bench)
    second.start()
    await settle_all(second)
    await settle_all(second)
    assert writes(bench) == []
    rule(bench, "q", egress=[{"toCIDR": ["198.51.100.0/24"]}])
    await settle_all(second)
    assert bench.api.of(names.IDENTITY).keys() - known.keys() == {str(int(CIDR) + 2)}


async def test_nodes_have_identities_while_a_policy_tells_them_apart(bench: Bench) -> None:
    it = Subjects(bench, grace=0)
    node(bench, "w1", "192.168.10.101", pool="fast")
    await settle_all(it)
    assert bench.api.of(names.IDENTITY) == {}
    rule(bench, "p", ingress=[{"fromNodes": [{"matchLabels": {"pool": "fast"}}]}])
    await settle_all(it)
    assert bench.api.of(names.IDENTITY)[NODE]["metadata"]["annotations"][names.NODE_ANNOTATION] == "w1"
    assert bench.api.of(names.CILIUM_NODE)["w1"]["metadata"]["annotations"] == {names.NODE_IDENTITY_ANNOTATION: NODE}
    assert sets(bench)["node:any:pool=fast"] == [int(NODE)]
    node(bench, "w1", "192.168.10.101", pool="slow")
    await settle_all(it)
    assert sets(bench)["node:any:pool=fast"] == []
    bench.gone(names.NETWORK_POLICY, "p", "ns")
    it.mark(policy.COLLECT)
    await settle_all(it)
    assert NODE not in bench.api.of(names.IDENTITY)
    assert "annotations" not in bench.api.of(names.CILIUM_NODE)["w1"]["metadata"]


async def test_where_ranges_match_nodes_nodes_have_identities_from_the_start(bench: Bench) -> None:
    it = Subjects(bench, cidrs_match_nodes=True)
    node(bench, "w1", "192.168.10.101")
    it.start()
    rule(bench, "p", egress=[{"toCIDR": ["192.168.0.0/16"]}])
    await settle_all(it)
    assert sets(bench)["cidr:192.168.0.0/16"] == [int(CIDR), int(NODE)]


async def test_the_api_server_outside_has_an_identity_and_on_a_node_the_node_says_so(bench: Bench) -> None:
    it = Subjects(bench)
    node(bench, "w1", "192.168.10.101")
    api_server(bench, "192.0.2.1")
    rule(bench, "p", ingress=[{"fromEntities": ["kube-apiserver"]}])
    await settle_all(it)
    assert bench.api.of(names.IDENTITY)[CIDR]["security-labels"] == {
        "cidr:192.0.2.1/32": "",
        "reserved:kube-apiserver": "",
        "reserved:world": "",
    }
    assert sets(bench)["entity:kube-apiserver"] == [7, int(CIDR)]
    api_server(bench, "192.168.10.101")
    await settle_all(it)
    assert bench.api.of(names.CILIUM_NODE)["w1"]["metadata"]["annotations"] == {names.KUBE_APISERVER_ANNOTATION: "true"}
    assert sets(bench)["entity:kube-apiserver"] == [7], "the old address is the API server's no more"


async def test_a_policy_about_nodes_names_them(bench: Bench) -> None:
    it = Subjects(bench)
    for name, pool in (("w2", "fast"), ("w1", "fast"), ("w3", "slow")):
        node(bench, name, "192.168.10.101", pool=pool)
    spec = {"nodeSelector": {"matchLabels": {"pool": "fast"}}, "ingress": [{}]}
    bench.seen(names.CLUSTERWIDE_NETWORK_POLICY, "hosts", metadata={"generation": 1}, spec=spec)
    await settle_all(it)
    (compiled,) = bench.api.of(names.COMPILED_POLICY)["ccnp.hosts"]["spec"]["rules"]
    assert (compiled["nodes"], "subject" in compiled) == (["w1", "w2"], False)
    bench.gone(names.NODE, "w1")
    await settle_all(it)
    (compiled,) = bench.api.of(names.COMPILED_POLICY)["ccnp.hosts"]["spec"]["rules"]
    assert compiled["nodes"] == ["w2"]


async def test_groups_and_services_that_change_leave_policies_alone(bench: Bench) -> None:
    it = Subjects(bench, grace=0)
    bench.seen(names.CIDR_GROUP, "g", spec={"externalCIDRs": ["192.0.2.0/24"]})
    bench.seen(names.SERVICE, "s", "ns", spec={})
    peers = {"toServices": [{"k8sService": {"serviceName": "s", "namespace": "ns"}}]}
    rule(bench, "p", egress=[peers, {"toCIDRSet": [{"cidrGroupRef": "g"}]}])
    await settle_all(it)
    assert sets(bench) | {"cidrgroup:g": [int(CIDR)], "service:ns/s": []} == sets(bench)
    writes(bench)
    bench.seen(names.CIDR_GROUP, "g", spec={"externalCIDRs": ["192.0.2.0/25"]})
    meta = {"labels": {"kubernetes.io/service-name": "s"}}
    bench.seen(names.ENDPOINT_SLICE, "s-1", "ns", metadata=meta, endpoints=[{"addresses": ["198.51.100.1"]}])
    await settle_all(it)
    assert {kind for _, kind in writes(bench)} == {"SelectorSet", "CiliumIdentity"}
    assert (len(sets(bench)["cidrgroup:g"]), len(sets(bench)["service:ns/s"])) == (1, 1)


def conditions(body: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["message"]) for one in body.get("status", {}).get("conditions", [])}


async def test_a_network_policy_is_judged_in_its_compiled_policy(bench: Bench) -> None:
    it = Subjects(bench)
    bench.seen(names.K8S_NETWORK_POLICY, "np", "ns", metadata={"generation": 1}, spec={"podSelector": {}})
    await settle_all(it)
    assert conditions(bench.api.of(names.COMPILED_POLICY)["np.ns.np"]) == {"Valid": ("True", "1 rule compiled")}
    assert "status" not in bench.api.of(names.K8S_NETWORK_POLICY)["np"]
    bench.gone(names.COMPILED_POLICY, "np.ns.np")
    await settle_all(it)
    assert "Valid" in conditions(bench.api.of(names.COMPILED_POLICY)["np.ns.np"]), "told again"


def report(bench: Bench, name: str, **enforced: int) -> None:
    status = {"enforced": {name.replace("_", "."): generation for name, generation in enforced.items()}}
    bench.seen(names.NODE_POLICY_STATUS, name, status=status)


class TestEnforced:
    async def test_it_follows_reports_revisions_and_nodes(self, bench: Bench) -> None:
        it = Subjects(bench)
        node(bench, "w1", "192.168.10.101")
        node(bench, "w2", "192.168.10.102")
        rule(bench, "p", ingress=[{}])
        await settle_all(it)
        assert self.told(bench) == ("False", "0 of 2 nodes enforce revision 1; not yet: w1, w2")
        report(bench, "w1", cnp_ns_p=1)
        report(bench, "w2", cnp_ns_p=1)
        await settle_all(it)
        assert self.told(bench) == ("True", "2 of 2 nodes enforce revision 1")
        rule(bench, "p", generation=2, egress=[{}], status=bench.api.of(names.NETWORK_POLICY)["p"]["status"])
        await settle_all(it)
        assert self.told(bench) == ("False", "0 of 2 nodes enforce revision 2; not yet: w1, w2"), "at once"
        report(bench, "w1", cnp_ns_p=2)
        await settle_all(it)
        assert self.told(bench)[1] == "0 of 2 nodes enforce revision 2; not yet: w1, w2", "w2 has a moment"
        bench.gone(names.NODE, "w2")
        await settle_all(it)
        assert self.told(bench) == ("True", "1 of 1 nodes enforce revision 2")

    async def test_a_node_that_joins_has_a_moment_too(self, bench: Bench) -> None:
        it = await self.enforced_on_w1(bench)
        node(bench, "w2", "192.168.10.102")
        await settle_all(it)
        assert self.told(bench) == ("True", "1 of 1 nodes enforce revision 1")
        report(bench, "w2", cnp_ns_p=1)
        await settle_all(it)
        assert self.told(bench) == ("True", "2 of 2 nodes enforce revision 1")

    async def test_a_node_that_joins_and_does_not_get_there_is_told(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verdicts, "PATIENCE", 0.0)
        it = await self.enforced_on_w1(bench)
        node(bench, "w2", "192.168.10.102")
        await settle_all(it)
        assert self.told(bench) == ("False", "1 of 2 nodes enforce revision 1; not yet: w2")
        report(bench, "w2", cnp_ns_p=1)
        await settle_all(it)
        assert self.told(bench) == ("True", "2 of 2 nodes enforce revision 1")

    async def test_a_node_that_stays_behind_is_told(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verdicts, "PATIENCE", 0.0)
        it = Subjects(bench)
        rule(bench, "p", ingress=[{}])
        for number in range(5):
            node(bench, f"w{number}", "192.168.10.101")
        await settle_all(it)
        report(bench, "w4", cnp_ns_p=1)
        await settle_all(it)
        assert self.told(bench)[1] == "1 of 5 nodes enforce revision 1; not yet: w0, w1, w2 and 1 more"

    async def test_many_reports_about_many_policies_cost_one_write_each(self, bench: Bench) -> None:
        it = Subjects(bench)
        for n in range(10):
            rule(bench, f"p{n}", ingress=[{}])
        for n in range(3):
            node(bench, f"w{n}", "192.168.10.101")
        await settle_all(it)
        writes(bench)
        for n in range(3):
            report(bench, f"w{n}", **{f"cnp_ns_p{m}": 1 for m in range(10)})
            await settle_all(it)
        assert writes(bench) == [("patch", "CiliumNetworkPolicy")] * 10

    async def test_without_nodes_there_is_nothing_to_tell(self, bench: Bench) -> None:
        it = Subjects(bench)
        rule(bench, "p", ingress=[{}])
        await settle_all(it)
        assert conditions(bench.api.of(names.NETWORK_POLICY)["p"]).keys() == {"Valid"}

    async def enforced_on_w1(self, bench: Bench) -> Subjects:
        """The policy p, on the only node there is."""
        it = Subjects(bench)
        node(bench, "w1", "192.168.10.101")
        rule(bench, "p", ingress=[{}])
        report(bench, "w1", cnp_ns_p=1)
        await settle_all(it)
        assert self.told(bench) == ("True", "1 of 1 nodes enforce revision 1")
        return it

    @staticmethod
    def told(bench: Bench) -> tuple[str, str]:
        return conditions(bench.api.of(names.NETWORK_POLICY)["p"])["Enforced"]
