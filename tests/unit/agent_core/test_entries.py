"""Endpoints, nodes and slices in; entries of cilium_lxc and cilium_ipcache_v2, routes and neighbours out."""

import dataclasses
import ipaddress

import pytest

from seta_agent.desired import endpoints, ipcache, routes
from seta_agent.desired.encode import mac_number, mac_text
from seta_agent.settings import Settings
from seta_agent.tables import Endpoint, Identity, Node, RemotePod
from tests.unit.agent_core import decode

IP = ipaddress.ip_address
NET = ipaddress.ip_network
OWN = Node("n1", (IP("192.168.10.101"),), (IP("10.0.1.1"),), (NET("10.0.1.0/24"),))
OTHER = Node("n2", (IP("192.168.10.102"),), (IP("10.0.2.1"),), (NET("10.0.2.0/24"),))


def endpoint(identity=300, ipv6=None):
    return Endpoint(
        id=7,
        namespace="default",
        pod="xwing",
        pod_uid="uid",
        container_id="cid",
        ifname="lxc1",
        ifindex=12,
        mac="02:00:00:00:00:07",
        node_mac="02:00:00:00:00:08",
        ipv4=IP("10.0.1.5"),
        ipv6=ipv6,
        identity=identity,
    )


def read_ipcache(entries, layout):
    key, value = layout
    return {
        (decode.address(k, key, "ip"), *decode.fields(k, key, "prefixlen", "family")): (
            *decode.fields(v, value, "sec_identity"),
            decode.address(v, value, "tunnel_endpoint"),
        )
        for k, v in entries.items()
    }


def test_an_endpoint_is_found_by_its_address(layouts):
    key, value = layouts["cilium_lxc"]
    ((raw, info),) = endpoints.of_endpoint(endpoint(), endpoints.Flag.EGRESS_OPEN, key, value).items()
    assert decode.address(raw, key, "ip") == "10.0.1.5"
    assert decode.fields(raw, key, "family") == (1,)
    assert decode.fields(info, value, "ifindex", "lxc_id", "flags", "sec_id") == (12, 7, 0x20, 300)
    assert mac_text(decode.fields(info, value, "mac")[0]) == "02:00:00:00:00:07"


def test_a_dual_stack_endpoint_has_two_entries(layouts):
    found = endpoints.of_endpoint(endpoint(ipv6=IP("fd00::5")), endpoints.Flag(0), *layouts["cilium_lxc"])
    assert len(found) == 2


def test_an_endpoint_without_identity_has_no_entries(layouts):
    assert endpoints.of_endpoint(endpoint(identity=None), endpoints.Flag(0), *layouts["cilium_lxc"]) == {}
    assert ipcache.of_endpoint(endpoint(identity=None), *layouts["cilium_ipcache_v2"]) == {}


def test_packets_of_an_endpoint_are_looked_up_as_long_as_they_ever_were(layouts):
    key, value = layouts["cilium_lxc"]
    looked_up = dataclasses.replace(endpoint(), has_packets=True)
    (info,) = endpoints.of_endpoint(looked_up, endpoints.Flag.EGRESS_OPEN, key, value).values()
    assert decode.fields(info, value, "flags") == (0x20 | 0x80,)


def test_only_known_namespaces_of_endpoints_without_socket_services_are_opted_out(layouts):
    listed = [
        dataclasses.replace(endpoint(), netns_cookie=4711, packet_services="annotation"),
        dataclasses.replace(endpoint(), netns_cookie=4712),
        dataclasses.replace(endpoint(), packet_services="istio-proxy"),
    ]
    found = endpoints.opted_out(listed, *layouts["seta_sock_optout"])
    assert found == {(4711).to_bytes(8, "little"): b"\x01"}


def test_the_nodes_own_addresses_go_to_the_stack(layouts):
    key, value = layouts["cilium_lxc"]
    found = endpoints.of_node(OWN.internal_ips + OWN.router_ips, key, value)
    assert sorted(decode.address(raw, key, "ip") for raw in found) == ["10.0.1.1", "192.168.10.101"]
    assert {decode.fields(raw, value, "flags", "sec_id") for raw in found.values()} == {(1, 1)}


def test_own_addresses_are_the_host(layouts):
    layout = layouts["cilium_ipcache_v2"]
    found = read_ipcache(ipcache.of_own(OWN.internal_ips + OWN.router_ips, *layout), layout)
    assert found == {("192.168.10.101", 64, 1): (1, "0.0.0.0"), ("10.0.1.1", 64, 1): (1, "0.0.0.0")}


def test_other_nodes_are_remote_and_their_pods_lie_behind_them(layouts):
    layout = layouts["cilium_ipcache_v2"]
    found = read_ipcache(ipcache.of_node(OTHER, (), *layout), layout)
    assert found == {
        ("192.168.10.102", 64, 1): (6, "0.0.0.0"),
        ("10.0.2.1", 64, 1): (6, "192.168.10.102"),
        ("10.0.2.0", 56, 1): (3, "192.168.10.102"),
    }


@pytest.mark.parametrize(
    ("changes", "admitted", "identities"),
    [
        ({"kube_apiserver": True}, (), {"192.168.10.102": 7, "10.0.2.1": 7, "10.0.2.0": 3}),
        ({"identity": 33554433}, (), {"192.168.10.102": 6, "10.0.2.1": 6, "10.0.2.0": 3}),
        ({"identity": 33554433}, (33554433,), {"192.168.10.102": 33554433, "10.0.2.1": 33554433, "10.0.2.0": 3}),
        (
            {"identity": 33554433, "kube_apiserver": True},
            (33554433,),
            {"192.168.10.102": 33554433, "10.0.2.1": 33554433, "10.0.2.0": 3},
        ),
    ],
)
def test_a_node_may_be_the_api_servers_or_known_by_itself(layouts, changes, admitted, identities):
    layout = layouts["cilium_ipcache_v2"]
    node = dataclasses.replace(OTHER, **changes)
    found = read_ipcache(ipcache.of_node(node, admitted, *layout), layout)
    assert {key[0]: value[0] for key, value in found.items()} == identities


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("192.0.2.0/24", {("192.0.2.0", 56, 1): (16777217, "0.0.0.0")}),
        ("0.0.0.0/0", {("0.0.0.0", 32, 1): (16777217, "0.0.0.0")}),
        ("10.0.0.0/8", {("10.0.0.0", 40, 1): (16777217, "0.0.0.0")}),
        ("10.0.2.0/24", {}),
        ("10.0.2.128/25", {}),
    ],
)
def test_a_range_of_pods_only_is_nobodys(layouts, prefix, expected):
    layout = layouts["cilium_ipcache_v2"]
    row = Identity(16777217, frozenset(), (), NET(prefix))
    found = ipcache.of_range(row, frozenset(OTHER.pod_cidrs), *layout)
    assert (read_ipcache(found, layout) if found else {}) == expected


def test_pods_of_slices_lie_behind_their_node_unless_it_is_ours(layouts):
    layout = layouts["cilium_ipcache_v2"]
    pods = [
        RemotePod("ns", "here", 300, (IP("10.0.1.9"),), IP("192.168.10.101")),
        RemotePod("ns", "there", 301, (IP("10.0.2.9"), IP("fd00::9")), IP("192.168.10.102")),
    ]
    found = read_ipcache(ipcache.of_slice(pods, frozenset(OWN.internal_ips), *layout), layout)
    assert found == {
        ("10.0.1.9", 64, 1): (300, "0.0.0.0"),
        ("10.0.2.9", 64, 1): (301, "192.168.10.102"),
        (IP("fd00::9").packed.hex(), 160, 2): (301, "192.168.10.102"),
    }


def test_macs_go_there_and_back():
    assert mac_text(mac_number("02:aa:bb:cc:dd:ee")) == "02:aa:bb:cc:dd:ee"


def test_an_endpoint_has_a_route_and_a_neighbour():
    found, neighbours = routes.to_endpoint(endpoint(), OWN)
    assert found == [routes.Route(NET("10.0.1.5/32"), "lxc1", source=IP("10.0.1.1"))]
    assert neighbours == [routes.Neighbour(IP("10.0.1.5"), "lxc1", "02:00:00:00:00:07")]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), [routes.Route(NET("10.0.2.0/24"), "seta_vxlan", source=IP("10.0.1.1"), mtu=1450)]),
        (Settings(routing_mode="native"), []),
        (
            Settings(routing_mode="native", auto_direct_node_routes=True),
            [routes.Route(NET("10.0.2.0/24"), "", gateway=IP("192.168.10.102"))],
        ),
    ],
)
def test_the_way_to_other_nodes_pods_depends_on_the_mode(settings, expected):
    assert routes.to_nodes(settings, OWN, [OWN, OTHER], 1500) == expected
