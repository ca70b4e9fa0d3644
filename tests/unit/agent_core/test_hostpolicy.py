"""The safeguards of a node that has a policy: for whom, on which ports, and only where all is denied by default."""

import ipaddress

import pytest

from seta_agent.desired import hostpolicy, policy, policymap
from seta_agent.desired.hostpolicy import API_SERVERS, NODES, SAFEGUARD
from seta_agent.tables import (
    Backend,
    Identity,
    Node,
    PolicyDirection,
    PolicyEntry,
    PortMatch,
    Service,
    ServicePort,
    Tables,
)
from tests.policy import lookup

CLOSED = [("CiliumClusterwideNetworkPolicy a", PolicyDirection(default_deny=True, entries=()))]
DENY = PolicyEntry("spec.ingressDeny[0]", deny=True, peers=None, ports=(PortMatch("TCP", 10250),))
OUTSIDE = 0x01000007
TCP, UDP = 6, 17


def node(name: str, number: int, **fields: object) -> Node:
    return Node(name, (ipaddress.ip_address(f"192.168.1.{number}"),), (), (), **fields)


def cluster(*, own_is_api_server: bool = False) -> Tables:
    tables = Tables()
    tables.nodes.set("n1", node("n1", 1, kube_apiserver=own_is_api_server, identity=0x02000001))
    tables.nodes.set("n2", node("n2", 2, kube_apiserver=True, identity=0x02000002))
    tables.nodes.set("n3", node("n3", 3))
    labels = frozenset({"cidr:203.0.113.9/32", "reserved:kube-apiserver", "reserved:world"})
    tables.admitted.set(OUTSIDE, Identity(OUTSIDE, labels))
    tables.admitted.set(OUTSIDE + 1, Identity(OUTSIDE + 1, frozenset({"cidr:10.0.0.0/8", "reserved:world"})))
    return tables


def allowed(rules: policy.Rules) -> set[tuple[tuple[str, ...] | None, str, int, int]]:
    return {
        (entry.peers, port.protocol, port.port, port.end_port)
        for source, direction in rules
        if source == SAFEGUARD
        for entry in direction.entries
        for port in entry.ports or ()
    }


def test_other_nodes_and_api_servers_are_known_by_all_their_identities():
    found = hostpolicy.around(cluster(), "n1")
    assert found.nodes == {6, 7, 0x02000002}
    assert found.api_servers == {7, 0x02000002, OUTSIDE}


def test_the_api_servers_port_is_the_services_and_the_usual_one_while_that_is_unknown():
    tables = cluster()
    assert hostpolicy.around(tables, "n1").api_ports == (6443,)
    backends = tuple(Backend(ipaddress.ip_address(f"192.168.1.{n}"), 7443) for n in (1, 2))
    port = ServicePort("https", "TCP", (), backends)
    tables.services.set(("default", "kubernetes"), Service("default", "kubernetes", (port,)))
    assert hostpolicy.around(tables, "n1").api_ports == (7443,)


def test_what_a_node_needs():
    ingress, egress = hostpolicy.with_safeguards(CLOSED, CLOSED, hostpolicy.around(cluster(), "n1"), 8472)
    shared = {((NODES, API_SERVERS), "TCP", 10250, 0), ((NODES,), "UDP", 8472, 0)}
    assert allowed(ingress) == shared | {(None, "UDP", 68, 0)}
    assert allowed(egress) == shared | {(None, "UDP", 67, 0), ((API_SERVERS,), "TCP", 6443, 0)}


def test_what_a_node_with_an_api_server_needs_besides():
    tables = cluster(own_is_api_server=True)
    ingress, egress = hostpolicy.with_safeguards(CLOSED, CLOSED, hostpolicy.around(tables, "n1"), 8472)
    etcd = ((API_SERVERS,), "TCP", 2379, 2380)
    assert {(None, "TCP", 6443, 0), etcd} <= allowed(ingress)
    assert etcd in allowed(egress)


@pytest.mark.parametrize("rules", [[], [("a", PolicyDirection(default_deny=False, entries=(DENY,)))]])
def test_what_is_not_closed_needs_no_safeguards(rules: policy.Rules):
    assert hostpolicy.with_safeguards(rules, rules, hostpolicy.around(cluster(), "n1"), 8472) == (rules, rules)


def test_a_deny_beats_them():
    closed = [*CLOSED, ("b", PolicyDirection(default_deny=False, entries=(DENY,)))]
    found = hostpolicy.around(cluster(), "n1")
    ingress, _ = hostpolicy.with_safeguards(closed, [], found, 8472)
    results = {False: policy.ingress(ingress, "default", found.sets, {}), True: policy.egress([], "default", {}, {})}
    entries = lookup.read(policymap.encode(results, policymap.Cookies(), *lookup.layouts()))
    assert lookup.allows(entries, 6, UDP, 8472, egress=False)
    assert not lookup.allows(entries, 6, TCP, 10250, egress=False)
