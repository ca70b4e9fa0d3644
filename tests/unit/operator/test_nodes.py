"""Nodes in, CiliumNodes out; pod CIDRs stay with their nodes."""

from typing import Any

import pytest

from seta_crds import names
from seta_crds.labels import LabelFilter
from seta_operator.services.addresses import PodCIDRs, PoolExhaustedError, router
from seta_operator.services.membership import Membership
from seta_operator.services.nodes import Nodes
from tests.unit.operator.fakes import Bench, settle


def test_pieces_in_order_over_all_ranges() -> None:
    pool = PodCIDRs(["10.0.0.0/23", "10.9.0.0/24"], 24)
    assert [str(pool.give(name)) for name in "abc"] == ["10.0.0.0/24", "10.0.1.0/24", "10.9.0.0/24"]
    assert str(pool.give("a")) == "10.0.0.0/24"
    with pytest.raises(PoolExhaustedError, match=r"no /24 is left in 10.0.0.0/23 10.9.0.0/24"):
        pool.give("d")
    assert pool.release("b")
    assert not pool.release("b")
    assert str(pool.give("d")) == "10.0.1.0/24"


def test_claims_of_another_configuration_are_kept_and_not_given_out() -> None:
    pool = PodCIDRs(["10.0.0.0/23"], 24)
    assert pool.claim("old", "10.0.0.128/25")
    assert pool.claim("far", "192.168.0.0/24")
    assert not pool.claim("late", "10.0.0.0/24"), "overlaps old's"
    assert not pool.claim("twin", "192.168.0.0/24")
    assert not pool.claim("odd", "everything")
    assert not pool.claim("six", "fd00::/64")
    assert str(pool.give("new")) == "10.0.1.0/24"
    with pytest.raises(PoolExhaustedError):
        pool.give("more")


def test_the_router_is_the_first_address() -> None:
    assert router(PodCIDRs(["10.0.4.0/22"], 24).give("a")) == "10.0.4.1"


def nodes(bench: Bench, pool: str = "10.0.0.0/23") -> Nodes:
    membership = Membership(bench.cluster, LabelFilter(), "default")
    return Nodes(bench.cluster, bench.writer, PodCIDRs([pool], 24), membership.nodes)


def node(bench: Bench, name: str, address: str = "") -> None:
    status = {"addresses": [{"type": "InternalIP", "address": address}]} if address else {}
    bench.seen(names.NODE, name, metadata={"uid": f"uid-{name}"}, status=status)


def spec(bench: Bench, name: str) -> Any:
    return bench.api.of(names.CILIUM_NODE)[name]["spec"]


async def test_a_node_gets_its_range_before_its_address() -> None:
    bench = Bench()
    subject = nodes(bench)
    node(bench, "w1")
    await settle(subject)
    assert spec(bench, "w1") == {
        "addresses": [{"type": "CiliumInternalIP", "ip": "10.0.0.1"}],
        "ipam": {"podCIDRs": ["10.0.0.0/24"]},
    }
    node(bench, "w1", "192.168.10.101")
    await settle(subject)
    assert spec(bench, "w1")["addresses"][0] == {"type": "InternalIP", "ip": "192.168.10.101"}
    owner = bench.api.of(names.CILIUM_NODE)["w1"]["metadata"]["ownerReferences"]
    assert owner == [{"apiVersion": "v1", "kind": "Node", "name": "w1", "uid": "uid-w1"}]


async def test_ranges_are_read_back_after_a_restart() -> None:
    bench = Bench()
    for name, cidr in (("w1", "10.0.1.0/24"), ("dead", "10.0.0.0/24")):
        bench.seen(names.CILIUM_NODE, name, spec={"ipam": {"podCIDRs": [cidr]}})
    node(bench, "w0", "192.168.10.100")
    node(bench, "w1", "192.168.10.101")
    subject = nodes(bench)
    subject.start()
    await settle(subject)
    assert spec(bench, "w1")["ipam"] == {"podCIDRs": ["10.0.1.0/24"]}
    assert spec(bench, "w0")["ipam"] == {"podCIDRs": ["10.0.0.0/24"]}, "the dead node's is free"
    assert "dead" not in bench.api.of(names.CILIUM_NODE)


async def test_two_nodes_that_claim_one_range_do_not_both_get_it() -> None:
    bench = Bench()
    for name in ("w1", "w2"):
        bench.seen(names.CILIUM_NODE, name, spec={"ipam": {"podCIDRs": ["10.0.0.0/24"]}})
        node(bench, name, "192.168.10.101")
    subject = nodes(bench)
    subject.start()
    await settle(subject)
    assert [spec(bench, name)["ipam"]["podCIDRs"] for name in ("w1", "w2")] == [["10.0.0.0/24"], ["10.0.1.0/24"]]


async def test_an_exhausted_pool_is_told_and_forgotten() -> None:
    bench = Bench()
    subject = nodes(bench, "10.0.0.0/24")
    node(bench, "w1", "192.168.10.101")
    node(bench, "w2", "192.168.10.102")
    await settle(subject)
    told = bench.api.of(names.CILIUM_NODE)["w2"]["status"]["ipam"]["operator-status"]["error"]
    assert told == (
        "no /24 is left in 10.0.0.0/24 for this node: add a range to ipam.operator.clusterPoolIPv4PodCIDRList "
        "or remove nodes"
    )
    bench.gone(names.NODE, "w1")
    await settle(subject)
    w2 = bench.api.of(names.CILIUM_NODE)["w2"]
    assert (w2["spec"]["ipam"]["podCIDRs"], w2["status"]["ipam"]["operator-status"]) == (
        ["10.0.0.0/24"],
        {"error": None},
    )


async def test_a_ciliumnode_that_somebody_changes_is_put_right() -> None:
    bench = Bench()
    subject = nodes(bench)
    node(bench, "w1", "192.168.10.101")
    await settle(subject)
    bench.seen(names.CILIUM_NODE, "w1", spec={"ipam": {"podCIDRs": ["10.7.0.0/24"]}})
    await settle(subject)
    assert spec(bench, "w1")["ipam"]["podCIDRs"] == ["10.0.0.0/24"]
