"""Tables in, the API's JSON out, where it is about policy and services."""

import ipaddress

import pytest

from seta_agent.api import views
from seta_agent.cli import endpoints, merge
from seta_agent.desired import hostports
from seta_agent.tables import (
    Backend,
    Endpoint,
    Frontend,
    Identity,
    Node,
    Policy,
    PolicyDirection,
    PolicyEntry,
    PolicyRule,
    PortMatch,
    SelectorSet,
    Service,
    ServicePort,
    Tables,
)


def row(**changes):
    fields = {"id": 7, "namespace": "ns", "pod": "p", "pod_uid": "u", "container_id": "c", "ifname": "l", "ifindex": 1}
    return Endpoint(**fields, mac="m", node_mac="n", ipv4=ipaddress.IPv4Address("10.0.1.5"), identity=300, **changes)


@pytest.mark.parametrize(
    ("enforced", "audit", "shown"),
    [
        (True, False, "Enabled"),
        (True, True, "Disabled (Audit)"),
        (False, False, "Disabled"),
        (False, True, "Disabled"),
    ],
)
def test_enforcement_says_that_it_only_reports(enforced, audit, shown):
    found = views.endpoint(row(audit=audit), (enforced, False))
    assert found["policy"] == {"ingress": shown, "egress": "Disabled"}


def policies():
    allow = PolicyEntry("spec.ingress[0]", deny=False, peers=("ss-b",), ports=(PortMatch("TCP", 80, 90),))
    direction = PolicyDirection(default_deny=True, entries=(allow,))
    yields = PolicyEntry("spec.egress[0]", deny=True, peers=None, ports=(PortMatch("TCP", name="http"),), yields=True)
    tables = Tables()
    rules = (PolicyRule("ss-a", direction, None), PolicyRule("", None, PolicyDirection(False, (yields,)), ("n1",)))  # noqa: FBT003
    tables.policies.set("cnp.ns.p", Policy("cnp.ns.p", "CiliumNetworkPolicy ns/p", 3, rules))
    for name, text, numbers in (("ss-a", "app=a", {300}), ("ss-b", "app=b", {302, 301}), ("ss-c", "app=c", set())):
        tables.selector_sets.set(name, SelectorSet(name, text, frozenset(numbers)))
    return tables


def test_a_policy_is_shown_with_whom_it_matches_now():
    (found,) = views.policies(policies())
    ingress, egress = found["rules"]
    assert ingress["subject"] == {"set": "ss-a", "selector": "app=a", "identities": [300]}
    assert ingress["ingress"]["entries"] == [
        {
            "origin": "spec.ingress[0]",
            "action": "Allow",
            "peers": [{"set": "ss-b", "selector": "app=b", "identities": [301, 302]}],
            "ports": ["80-90/TCP"],
        }
    ]
    assert (egress["nodes"], "subject" in egress) == (["n1"], False)
    assert egress["egress"]["entries"] == [
        {"origin": "spec.egress[0]", "action": "Deny", "yields": True, "ports": ["http/TCP"]}
    ]


def test_selectors_are_shown_with_their_users_and_members():
    assert [tuple(item.values()) for item in views.selectors(policies())] == [
        ("ss-a", "app=a", ["CiliumNetworkPolicy ns/p"], [300]),
        ("ss-b", "app=b", ["CiliumNetworkPolicy ns/p"], [301, 302]),
        ("ss-c", "app=c", [], []),
    ]


def test_addresses_have_the_identities_that_the_ipcache_has():
    tables, network = Tables(), ipaddress.ip_network
    for number, changes in enumerate(({}, {"identity": 16777300}, {"identity": 16777301}, {"kube_apiserver": True}), 1):
        addresses = (ipaddress.ip_address(f"192.168.50.{number}"),), (), ()
        tables.nodes.set(f"n{number}", Node(f"n{number}", *addresses, **changes))
    tables.admitted.set(16777300, Identity(16777300, frozenset()))
    tables.admitted.set(16777302, Identity(16777302, frozenset(), prefix=network("198.51.100.0/24")))
    assert [(one["ip"], one["identity"]["id"]) for one in views.ips(tables, "n1")] == [
        ("192.168.50.1/32", 1),
        ("192.168.50.2/32", 16777300),
        ("192.168.50.3/32", 6),
        ("192.168.50.4/32", 7),
        ("198.51.100.0/24", 16777302),
    ]


def test_services_are_listed_by_frontend_with_every_state_and_host_ports_by_the_nodes_number():
    ip = ipaddress.ip_address
    states = ("active", "terminating", "terminating-not-serving")
    backends = tuple(Backend(ip(f"10.0.1.{n}"), 8080, node="n1", state=state) for n, state in enumerate(states, 5))
    fronts = (Frontend(18, "NodePort", ip("0.0.0.0"), 30080), Frontend(17, "ClusterIP", ip("fd00::10"), 80))
    web = Service("ns", "web", (ServicePort("http", "TCP", fronts, backends),))
    pod = Service("ns", "pod", (ServicePort("", "UDP", (Frontend(0, "HostPort", ip("0.0.0.0"), 53),), backends[:1]),))
    taken = {(ip("192.168.10.102"), 53, 17): 60001}
    numbered = hostports.numbered(pod, [ip("192.168.10.101"), ip("192.168.10.102")], lambda key: taken.get(key, 0))
    shown = views.services([web, numbered])
    assert [(one["id"], one["frontend"], one["type"]) for one in shown] == [
        (17, "[fd00::10]:80/TCP", "ClusterIP"),
        (18, "0.0.0.0:30080/TCP", "NodePort"),
        (60001, "0.0.0.0:53/UDP", "HostPort"),
    ]
    assert [one["state"] for one in shown[0]["backends"]] == list(states)


def test_from_several_nodes_a_service_is_one_and_a_host_port_each_nodes_own():
    one = {"frontend": "10.96.0.1:80/TCP", "type": "ClusterIP", "backends": [{"node": "n1"}, {"node": "n2"}]}
    ports = [{"frontend": "0.0.0.0:80/TCP", "type": "HostPort", "backends": [{"node": node}]} for node in ("n1", "n2")]
    found = merge.union({"n1": [one, ports[0]], "n2": [one, ports[1]]}, endpoints.service_key)
    assert found == [*ports, one]
