"""Which nodes and addresses a cluster has."""

import ipaddress

import pytest

from seta_playground import lan, network_plain, plan
from seta_playground.errors import PlaygroundError


def test_three_nodes_have_the_addresses_that_the_documentation_names():
    nodes = {node.name: node.address for node in plan.make("seta", 3).nodes}
    assert nodes == {"k8s-s": "192.168.10.10", "k8s-w1": "192.168.10.101", "k8s-w2": "192.168.10.102"}


def test_the_first_node_is_the_control_plane():
    assert plan.make("seta", 1).control_plane == plan.make("seta", 9).control_plane


@pytest.mark.parametrize("count", [1, 3, plan.MOST_NODES])
def test_addresses_and_pod_ranges_are_distinct_and_within_their_networks(count: int):
    nodes = plan.make("seta", count).nodes
    assert len({node.address for node in nodes}) == count
    assert all(ipaddress.ip_address(node.address) in ipaddress.ip_network(plan.LAN) for node in nodes)
    ranges = [ipaddress.ip_network(node.plain_pod_cidr) for node in nodes]
    assert len(set(ranges)) == count
    assert all(one.subnet_of(ipaddress.ip_network(plan.PLAIN_POD_CIDR)) for one in ranges)


def test_no_network_overlaps_another():
    texts = (plan.LAN, plan.LB_NET, plan.WORLD_NET, plan.SERVICE_CIDR, plan.PLAIN_POD_CIDR)
    networks = [ipaddress.ip_network(text) for text in texts]
    pairs = [(a, b) for a in networks for b in networks if a != b]
    assert not any(a.overlaps(b) for a, b in pairs)


@pytest.mark.parametrize("name", ["", "Seta", "a.b", "-a", "a-", "a" * 21, "a/b", "a b"])
def test_a_name_that_would_not_do_for_a_namespace_is_refused(name: str):
    with pytest.raises(PlaygroundError, match="no cluster name"):
        plan.make(name, 3)


@pytest.mark.parametrize("count", [0, -1, plan.MOST_NODES + 1])
def test_a_number_of_nodes_that_there_are_no_addresses_for_is_refused(count: int):
    with pytest.raises(PlaygroundError, match="--nodes"):
        plan.make("seta", count)


def test_clusters_whose_names_begin_alike_share_no_namespace():
    short = {plan.make("a", 3).netns(place) for place in ("lan", "k8s-s")}
    assert not any(name.startswith("a.") for name in (plan.make("a-b", 3).netns(place) for place in ("lan", "k8s-s")))
    assert short == {"a.lan", "a.k8s-s"}


def test_an_unknown_place_is_answered_with_those_that_there_are():
    with pytest.raises(PlaygroundError, match="k8s-s, k8s-w1, world, router, lan"):
        plan.make("seta", 2).node("k8s-w7")


def test_every_link_is_made_within_namespaces_and_within_the_length_of_a_name():
    for place, commands in lan.script(plan.make("x" * 20, plan.MOST_NODES)):
        for command in (command.split() for command in commands if command.startswith("link add")):
            assert place
            assert "veth" not in command or "netns" in command
            names = [
                command[2],
                *(command[command.index("name") + 1 : command.index("name") + 2] if "peer" in command else []),
            ]
            assert all(len(name) <= 15 for name in names)


def test_every_node_has_its_interface_its_address_and_a_way_out():
    cluster = plan.make("seta", 2)
    commands = dict(lan.script(cluster))
    for node in cluster.nodes:
        assert f"address add {node.address}/24 dev ens5" in commands[node.name]
        assert "route add default via 192.168.10.1" in commands[node.name]


def test_the_router_asks_the_lan_for_loadbalancer_addresses():
    assert "route add 10.10.200.0/24 dev lan0" in dict(lan.script(plan.make("seta", 1)))["router"]


def test_a_plain_node_gives_its_pods_its_own_range():
    node = plan.make("seta", 2).nodes[1]
    assert '"subnet": "10.244.1.0/24"' in network_plain.files(node)[network_plain.CONFLIST]
