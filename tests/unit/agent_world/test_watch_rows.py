"""API objects in, table rows out."""

import ipaddress
import time

import pytest

from seta_agent.tables import (
    Backend,
    Frontend,
    Identity,
    Node,
    Pod,
    PolicyDirection,
    PolicyEntry,
    PolicyRule,
    PortMatch,
)
from seta_agent.watch import cluster, pods, policies, services

IP = ipaddress.ip_address


def pod_object(**spec) -> dict:
    return {
        "metadata": {"namespace": "default", "name": "xwing", "uid": "u1", "labels": {"org": "alliance"}},
        "spec": {"serviceAccountName": "pilot", **spec},
    }


def test_a_pod_keeps_what_identity_and_named_ports_need():
    containers = [{"ports": [{"name": "http", "containerPort": 80}, {"containerPort": 9}]}]
    assert pods.pod(pod_object(containers=containers)) == Pod(
        "default", "xwing", "u1", {"org": "alliance"}, "pilot", (("http", 80, "TCP"),)
    )


def test_a_pod_on_the_host_network_is_nobodys_endpoint():
    assert pods.pod(pod_object(hostNetwork=True)) is None


def test_a_static_pod_is_known_by_the_uid_the_runtime_uses_as_well():
    item = pod_object()
    item["metadata"]["annotations"] = {"kubernetes.io/config.hash": "static-uid"}
    assert pods.pod(item).runtime_uid == "static-uid"


def test_an_identity_has_its_labels_as_the_operator_wrote_them_and_its_selector_sets():
    item = {
        "metadata": {"name": "4711", "annotations": {"seta.dev/selector-sets": "ss-a, ss-b"}},
        "security-labels": {"k8s:app": "x", "k8s:empty": ""},
    }
    assert cluster.identity(item) == Identity(4711, frozenset({"k8s:app=x", "k8s:empty"}), ("ss-a", "ss-b"))


@pytest.mark.parametrize("name", ["1", "255", "65536", "16777216", "50331648"])
def test_an_identity_outside_of_the_pods_range_is_refused(name):
    with pytest.raises(ValueError, match="no identity of"):
        cluster.identity({"metadata": {"name": name}, "security-labels": {}})


@pytest.mark.parametrize(
    ("label", "prefix"),
    [("cidr:10.0.0.0/8", "10.0.0.0/8"), ("cidr:2001-db8--/32", "2001:db8::/32")],
)
def test_an_address_range_has_an_identity_of_its_own(label, prefix):
    item = {"metadata": {"name": "16777217"}, "security-labels": {label: "", "reserved:world": ""}}
    assert cluster.identity(item).prefix == ipaddress.ip_network(prefix)


def test_an_address_ranges_identity_without_a_range_is_refused():
    with pytest.raises(ValueError, match="exactly one cidr label"):
        cluster.identity({"metadata": {"name": "16777217"}, "security-labels": {"reserved:world": ""}})


def test_a_node_says_what_it_is_called_and_that_the_api_server_is_on_it():
    notes = {"seta.dev/node-identity": "33554433", "seta.dev/kube-apiserver": "true"}
    row = cluster.node({"metadata": {"name": "k8s-m", "annotations": notes}, "spec": {}})
    assert (row.identity, row.kube_apiserver) == (33554433, True)


def test_a_node_cannot_be_called_a_pod():
    with pytest.raises(ValueError, match="no node's identity"):
        cluster.node({"metadata": {"name": "n", "annotations": {"seta.dev/node-identity": "300"}}, "spec": {}})


def test_a_pods_annotation_asks_for_audit_mode():
    item = pod_object()
    item["metadata"]["annotations"] = {"policy.seta.dev/audit-mode": "true"}
    assert pods.pod(item).audit


@pytest.mark.parametrize(
    ("annotation", "containers", "sidecars", "reason"),
    [
        (None, ["app"], [], ""),
        ("false", ["app"], [], "annotation"),
        ("no", ["app"], [], ""),
        (None, ["app", "istio-proxy"], [], "istio-proxy"),
        (None, ["app"], ["linkerd-proxy"], "linkerd-proxy"),
        (None, ["app"], ["istio-init"], ""),
        (None, ["kuma-sidecar"], [], "kuma-sidecar"),
        (None, ["consul-dataplane"], [], "consul-dataplane"),
        ("true", ["app", "istio-proxy"], [], ""),
        ("false", ["istio-proxy"], [], "annotation"),
    ],
)
def test_a_pod_opts_out_of_services_at_the_socket_by_annotation_or_sidecar(annotation, containers, sidecars, reason):
    named = {"containers": [{"name": name} for name in containers], "initContainers": [{"name": n} for n in sidecars]}
    item = pod_object(**named)
    item["metadata"]["annotations"] = {} if annotation is None else {"seta.dev/socket-lb": annotation}
    assert pods.pod(item).packet_services == reason


def test_a_rule_may_be_about_nodes():
    item = {
        "metadata": {"name": "ccnp.h"},
        "spec": {
            "source": {"kind": "CiliumClusterwideNetworkPolicy", "name": "h"},
            "rules": [{"nodes": ["n1"], "ingress": {"defaultDeny": True}}],
        },
    }
    (rule,) = policies.policy(item).rules
    assert (rule.subject, rule.nodes, rule.egress) == ("", ("n1",), None)


def test_a_node_has_its_addresses_by_type():
    item = {
        "metadata": {"name": "k8s-w1"},
        "spec": {
            "addresses": [
                {"type": "InternalIP", "ip": "192.168.10.101"},
                {"type": "CiliumInternalIP", "ip": "10.0.1.1"},
            ],
            "ipam": {"podCIDRs": ["10.0.1.0/24"]},
        },
    }
    assert cluster.node(item) == Node(
        "k8s-w1", (IP("192.168.10.101"),), (IP("10.0.1.1"),), (ipaddress.ip_network("10.0.1.0/24"),)
    )


def test_an_endpoint_slice_leaves_out_what_is_not_complete_yet():
    networking = {"addressing": [{"ipv4": "10.0.2.7"}], "node": "192.168.10.102"}
    item = {
        "namespace": "default",
        "endpoints": [
            {"name": "deathstar", "id": 300, "networking": networking},
            {"name": "no-identity", "networking": networking},
            {"name": "no-address", "id": 301, "networking": {"addressing": [], "node": "192.168.10.102"}},
        ],
    }
    (row,) = cluster.remote_pods(item)
    assert (row.name, row.identity, row.addresses) == ("deathstar", 300, (IP("10.0.2.7"),))
    assert row.node_ip == IP("192.168.10.102")


def table_object(number: int, *, backends: int = 2) -> dict:
    return {
        "metadata": {"namespace": "default", "name": f"svc-{number}"},
        "spec": {
            "type": "ClusterIP",
            "ports": [
                {
                    "name": "http",
                    "protocol": "TCP",
                    "frontends": [
                        {
                            "type": "ClusterIP",
                            "address": f"10.96.{number >> 8}.{number & 255}",
                            "port": 80,
                            "id": number + 1,
                        }
                    ],
                    "backends": [
                        {"address": f"10.0.{one}.{number & 255}", "port": 8080, "node": "k8s-w1", "state": "active"}
                        for one in range(backends)
                    ],
                }
            ],
        },
    }


def test_a_service_table_becomes_frontends_and_backends():
    (port,) = services.service(table_object(3, backends=1)).ports
    assert port.frontends == (Frontend(4, "ClusterIP", IP("10.96.0.3"), 80),)
    assert port.backends == (Backend(IP("10.0.0.3"), 8080, "k8s-w1"),)


@pytest.mark.parametrize(
    "change", [{"port": 0}, {"port": 65536}, {"port": "http"}, {"address": "no"}, {"state": "asleep"}]
)
def test_a_backend_that_cannot_be_meant_is_left_out_and_the_others_stay(change):
    item = table_object(1)
    item["spec"]["ports"][0]["backends"][0].update(change)
    (port,) = services.service(item).ports
    assert [str(one.address) for one in port.backends] == ["10.0.1.1"]


def test_ten_thousand_services_are_read_well_under_a_second():
    items = [table_object(number) for number in range(10_000)]
    begin = time.process_time()
    assert len([services.service(item) for item in items]) == 10_000
    assert time.process_time() - begin < 0.8


def policy_object(**entry) -> dict:
    return {
        "metadata": {"name": "cnp.default.rule1"},
        "spec": {
            "source": {"kind": "CiliumNetworkPolicy", "namespace": "default", "name": "rule1", "generation": 2},
            "rules": [
                {
                    "subject": "ss-x",
                    "ingress": {
                        "defaultDeny": True,
                        "entries": [{"origin": "spec.ingress[0]", "action": "Allow", **entry}],
                    },
                }
            ],
        },
    }


def test_absent_peers_and_ports_are_everybody_and_empty_ones_nobody():
    entry = PolicyEntry("spec.ingress[0]", deny=False, peers=None, ports=None)
    assert policies.policy(policy_object()).rules == (
        PolicyRule("ss-x", PolicyDirection(default_deny=True, entries=(entry,)), None),
    )
    nobody = policies.policy(policy_object(peers=[], ports=[])).rules[0].ingress.entries[0]
    assert (nobody.peers, nobody.ports) == ((), ())


def test_a_policy_names_its_source_for_people():
    row = policies.policy(policy_object(ports=[{"protocol": "TCP", "port": 80}]))
    assert (row.source, row.generation) == ("CiliumNetworkPolicy default/rule1", 2)
    assert row.rules[0].ingress.entries[0].ports == (PortMatch("TCP", 80),)


@pytest.mark.parametrize(
    "entry",
    [
        {"action": "Perhaps"},
        {"ports": [{"protocol": "CARRIER-PIGEON"}]},
        {"ports": [{"protocol": "TCP", "port": 90, "endPort": 80}]},
        {"ports": [{"protocol": "TCP", "port": 70000}]},
    ],
)
def test_a_policy_that_cannot_be_read_whole_is_refused_whole(entry):
    with pytest.raises((ValueError, KeyError)):
        policies.policy(policy_object(**entry))
