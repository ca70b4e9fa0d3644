"""Policies in, answers of `seta policy explain` out; and what it suggests, applied, changes the answer."""

import ipaddress

import pytest

from seta_agent.api import questions
from seta_agent.api.parties import PartyError
from seta_agent.api.questions import QuestionError
from seta_agent.tables import OwnAddress
from tests.unit.agent_world.cluster import Cluster, closed, cnp

CLOSED_DB = "CiliumNetworkPolicy shop/closed-db"


@pytest.fixture
def cluster():
    return Cluster()


def allow(app, peers, **more):
    spec = {"endpointSelector": {"matchLabels": {"app": app}}, "ingress": [{"fromEndpoints": peers, **more}]}
    return cnp(f"allow-{app}", spec)


def test_without_policies_everything_is_allowed(cluster):
    told = cluster.explain("shop/web", "shop/db")
    assert told["verdict"] == "allowed"
    assert told["from"] == {
        "name": "shop/web",
        "address": "10.0.1.5",
        "node": "n1",
        "identity": 300,
        "labels": sorted(cluster.tables.identities.get(300).labels),
    }
    assert told["egress"] == {
        "of": "shop/web",
        "verdict": "allowed",
        "enforced": False,
        "reason": "allowed: no policy selects it",
        "rules": [],
        "default_deny": [],
    }


def test_default_deny_names_the_policy_whose_presence_denies(cluster):
    cluster.apply(closed("db", "ingress"))
    told = cluster.explain("shop/web", "shop/db")
    assert told["verdict"] == "denied"
    assert told["egress"]["verdict"] == "allowed"
    assert told["ingress"]["default_deny"] == [CLOSED_DB]
    assert told["ingress"]["reason"] == (
        f"denied by default: no rule allows it, and {CLOSED_DB} denies what none allows"
    )


def test_several_policies_deny_by_default_together(cluster):
    cluster.apply(closed("db", "ingress"), cnp("more", {"endpointSelector": {}, "ingress": [{}]}))
    assert cluster.explain("shop/web", "shop/db")["ingress"]["reason"] == (
        f"denied by default: no rule allows it, and {CLOSED_DB}, CiliumNetworkPolicy shop/more deny what none allows"
    )


def test_the_mode_always_denies_without_any_policy():
    told = Cluster("always").explain("shop/web", "shop/db")
    assert told["egress"]["reason"] == (
        "denied by default: no rule allows it, and policyEnforcementMode always denies what none allows"
    )


def test_an_allow_names_policy_and_rule(cluster):
    cluster.apply(closed("db", "ingress"), allow("db", [{"matchLabels": {"app": "web"}}]))
    told = cluster.explain("shop/web", "shop/db")
    assert told["verdict"] == "allowed"
    assert told["ingress"]["rules"] == [
        {"policy": "CiliumNetworkPolicy shop/allow-db", "rule": "spec.ingress[0]"},
    ]
    assert cluster.explain("ops/prometheus", "shop/db")["verdict"] == "denied"


def test_a_deny_cannot_be_allowed_away(cluster):
    spec = {"endpointSelector": {}, "ingressDeny": [{"fromEndpoints": [{"matchLabels": {"app": "web"}}]}]}
    cluster.apply(cnp("no-web", spec), allow("db", [{}]))
    told = cluster.explain("shop/web", "shop/db")
    assert told["ingress"]["reason"] == "denied by CiliumNetworkPolicy shop/no-web (spec.ingressDeny[0])"
    assert (told["allow"], told["advice"]) == (
        [],
        ("no rule can allow it, as deny beats allow: change CiliumNetworkPolicy shop/no-web (spec.ingressDeny[0])"),
    )


def test_kubernetes_own_policies_are_named_as_such(cluster):
    spec = {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"]}
    cluster.apply({"kind": "NetworkPolicy", "metadata": {"name": "lock", "namespace": "shop"}, "spec": spec})
    assert cluster.explain("shop/web", "shop/db")["ingress"]["default_deny"] == ["NetworkPolicy shop/lock"]


def test_the_suggested_rule_is_the_smallest(cluster):
    cluster.apply(closed("db", "ingress"))
    (rule,) = cluster.explain("ops/prometheus", "shop/db", "5432/TCP")["allow"]
    assert rule == {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "allow-prometheus-to-db-5432-tcp", "namespace": "shop"},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "db"}},
            "ingress": [
                {
                    "fromEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "ops", "app": "prometheus"}}],
                    "toPorts": [{"ports": [{"port": "5432", "protocol": "TCP"}]}],
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("source", "destination", "port", "shut"),
    [
        ("shop/web", "shop/db", "80/TCP", [closed("db", "ingress")]),
        ("shop/web", "shop/db", "sql/TCP", [closed("db", "ingress")]),
        ("shop/web", "shop/db", "53/UDP", [closed("web", "egress")]),
        ("shop/web", "shop/db", "ICMP/8", [closed("web", "egress"), closed("db", "ingress")]),
        ("shop/db", "shop/web", "0/ICMP", [closed("web", "ingress")]),
        ("ops/prometheus", "shop/db", "9/SCTP", [closed("db", "ingress")]),
        ("shop/web", "ops/prometheus", "80/TCP", [closed("web", "egress")]),
        ("shop/web", "192.0.2.7", "443/TCP", [closed("web", "egress")]),
        ("shop/web", "198.51.100.7", "443/TCP", [closed("web", "egress")]),
        ("198.51.100.7", "shop/web", "80/TCP", [closed("web", "ingress")]),
        ("shop/web", "192.168.10.2", "10250/TCP", [closed("web", "egress")]),
        ("shop/db", "192.168.10.1", "6443/TCP", [closed("db", "egress")]),
        ("shop/web", "192.168.10.1", "6443/TCP", [closed("web", "egress")]),
        ("shop/web", "10.0.2.99", "80/TCP", [closed("web", "egress")]),
        ("shop/bare", "shop/db", "80/TCP", [closed("db", "ingress")]),
        ("shop/db", "shop/bare", "80/TCP", [cnp("all", {"endpointSelector": {}, "ingress": [{}]})]),
    ],
)
def test_the_suggested_rules_applied_allow_it(cluster, source, destination, port, shut):
    cluster.apply(*shut)
    told = cluster.explain(source, destination, port)
    assert (told["verdict"], len(told["allow"])) == ("denied", len(shut))
    cluster.apply(*told["allow"])
    assert cluster.explain(source, destination, port)["verdict"] == "allowed"
    assert cluster.explain(source, destination, "1/TCP")["verdict"] == "denied"


def test_in_the_mode_always_both_directions_are_suggested():
    cluster = Cluster("always")
    rules = cluster.explain("shop/web", "shop/db")["allow"]
    assert [sorted(rule["spec"]) for rule in rules] == [["egress", "endpointSelector"], ["endpointSelector", "ingress"]]
    cluster.apply(*rules)
    assert cluster.explain("shop/web", "shop/db")["verdict"] == "allowed"


def test_a_suggestion_closes_nobody_else(cluster):
    """web-2 has the labels of web too, and nothing denies to it by default."""
    cluster.apply(
        cnp(
            "one",
            {
                "endpointSelector": {
                    "matchExpressions": [
                        {"key": "app", "operator": "In", "values": ["web"]},
                        {"key": "tier", "operator": "DoesNotExist"},
                    ]
                },
                "ingress": [{}],
            },
        )
    )
    (rule,) = cluster.explain("shop/db", "shop/web")["allow"]
    assert rule["spec"]["enableDefaultDeny"] == {"ingress": False}
    cluster.apply(rule)
    assert cluster.explain("shop/db", "shop/web")["verdict"] == "allowed"
    assert cluster.explain("ops/prometheus", "shop/web-2")["verdict"] == "allowed"


def test_a_node_is_the_host_to_its_own_pods_and_remote_to_others(cluster):
    cluster.apply(closed("web", "ingress"), closed("db", "ingress"))
    assert cluster.explain("192.168.10.1", "shop/web")["ingress"]["reason"] == (
        "allowed: a node always reaches its own pods"
    )
    told = cluster.explain("192.168.10.1", "shop/db")
    assert (told["verdict"], told["from"]["identity"]) == ("denied", 7)


def test_so_is_each_further_address_of_it_but_to_others_the_world(cluster):
    for text in ("192.168.10.1", "203.0.113.9"):
        address = ipaddress.ip_address(text)
        cluster.tables.own_addresses.set(address, OwnAddress(address, 2))
    assert cluster.explain("203.0.113.9", "shop/web")["from"]["identity"] == 1
    assert cluster.explain("203.0.113.9", "shop/db")["from"]["identity"] == 2


@pytest.mark.parametrize("agent", ["n1", "n2"])
@pytest.mark.parametrize("pod", ["shop/web", "shop/db"])
def test_every_node_explains_the_way_to_the_api_server_alike(agent, pod):
    cluster = Cluster(agent=agent)
    spec = {"endpointSelector": {}, "egress": [{"toEntities": ["kube-apiserver"]}]}
    cluster.apply(cnp("api", spec))
    assert cluster.explain(pod, "192.168.10.1", "6443/TCP")["verdict"] == "allowed"
    assert cluster.explain(pod, "192.168.10.2", "6443/TCP")["verdict"] == "denied"


def test_a_policy_for_nodes_cannot_shut_out_the_kubelet(cluster):
    spec = {"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "n2"}}, "ingress": [{}]}
    cluster.apply({"kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "n2"}, "spec": spec})
    told = cluster.explain("192.168.10.1", "192.168.10.2", "10250/TCP")
    assert told["ingress"]["reason"] == "allowed by safeguard"


def test_a_policy_for_nodes_is_explained_and_its_remedy_names_the_node(cluster):
    spec = {"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": "n2"}}, "ingress": [{}]}
    metadata = {"name": "n2"}
    cluster.apply({"kind": "CiliumClusterwideNetworkPolicy", "metadata": metadata, "spec": spec})
    told = cluster.explain("shop/web", "192.168.10.2")
    assert told["ingress"]["default_deny"] == ["CiliumClusterwideNetworkPolicy n2"]
    (rule,) = told["allow"]
    assert rule["spec"]["nodeSelector"] == {"matchLabels": {"kubernetes.io/hostname": "n2"}}
    cluster.apply(rule)
    assert cluster.explain("shop/web", "192.168.10.2")["verdict"] == "allowed"
    assert cluster.explain("shop/web", "192.168.10.1")["verdict"] == "allowed"


def test_a_pod_reaches_itself_whatever_the_policies_say(cluster):
    cluster.apply(closed("db", "ingress", "egress"))
    assert cluster.explain("shop/db", "shop/db")["verdict"] == "allowed"


def test_a_reserved_name_is_an_end_too(cluster):
    cluster.apply(closed("db", "ingress"))
    told = cluster.explain("reserved:world", "shop/db")
    assert told["allow"][0]["spec"]["ingress"][0]["fromEntities"] == ["world"]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("shop/nobody", "there is no pod shop/nobody with an address of its own"),
        ("deathstar", "write namespace/pod, an IP address or reserved:NAME"),
        ("www.example.org", "www.example.org is a DNS name, and names are not understood yet"),
        ("*.Example.org.", "write an IP address that it stands for or, of a Service, namespace/pod of a pod behind it"),
        ("10.0.1.256", "10.0.1.256 is nobody: write namespace/pod"),
        ("reserved:moon", "there is no reserved:moon; there are reserved:host, "),
        ("10.96.0.9", "10.96.0.9 is service shop/db: policy is about the pods behind it"),
    ],
)
def test_who_is_nobody_gets_a_sentence(cluster, word, sentence):
    with pytest.raises(PartyError, match=sentence):
        cluster.explain(word, "shop/db")


@pytest.mark.parametrize("port", ["", "80", "80/FTP", "65536/TCP", "256/ICMP", "ping/ICMP", "/TCP"])
def test_what_is_no_port_gets_a_sentence(port):
    with pytest.raises(QuestionError, match=r"write 80/TCP, http/TCP or 8/ICMP"):
        questions.parse(port)


def test_a_port_that_the_destination_does_not_name_gets_a_sentence(cluster):
    with pytest.raises(QuestionError, match="shop/web has no port that is called sql/TCP"):
        cluster.explain("shop/db", "shop/web", "sql/TCP")
