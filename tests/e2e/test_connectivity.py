"""Who reaches whom without a policy: pods, nodes and the world, on one node and across."""

import pytest

from tests.e2e.steps import Bench, eventually, pod

PODS = (("web", "k8s-w1"), ("near", "k8s-w1"), ("far", "k8s-w2"))
NODES = {"k8s-s": "192.168.10.10", "k8s-w1": "192.168.10.101", "k8s-w2": "192.168.10.102"}
WORLD = "192.168.20.10"


@pytest.fixture(scope="module")
def addresses(bench: Bench):
    pods = [pod(name, node) for name, node in PODS]
    found = bench.start(*pods)
    bench.serve("web")
    yield found
    bench.delete(*pods)


@pytest.mark.parametrize("client", ["near", "far"])
def test_pod_reaches_pod(bench: Bench, addresses, client):
    assert bench.connects(client, addresses["web"])
    assert bench.shell(client, f"ping -c 2 -W 1 {addresses['web']}").returncode == 0


@pytest.mark.parametrize("client", ["near", "far"])
def test_large_datagrams_arrive_in_fragments(bench: Bench, addresses, client):
    assert bench.shell(client, f"ping -c 2 -W 1 -s 4000 {addresses['web']}").returncode == 0


def test_a_pod_reaches_itself(bench: Bench, addresses):
    assert bench.connects("web", addresses["web"])


@pytest.mark.parametrize("node", NODES)
def test_pod_reaches_every_node(bench: Bench, addresses, node):
    assert bench.shell("near", f"ping -c 1 -W 1 {NODES[node]}").returncode == 0
    assert bench.connects("near", NODES[node], 10250)


@pytest.mark.parametrize("node", NODES)
def test_every_node_reaches_every_pod(bench: Bench, addresses, node):
    for address in addresses.values():
        bench.cluster.exec(node, "ping", "-c", "1", "-W", "1", address)


def test_a_pod_reaches_the_world_as_its_node(bench: Bench, addresses):
    heard = bench.cluster.popen_exec("world", "timeout", "20", "nc", "-l", "-v", "-n", "-p", "8080")
    eventually(lambda: bench.connects("far", WORLD, 8080), "the world answers")
    out, err = heard.communicate(timeout=20)
    assert NODES["k8s-w2"] in out + err


def test_names_resolve_over_the_cluster_dns(bench: Bench, addresses):
    def looked_up() -> str:
        query = "dig +short +time=2 +tries=1 kubernetes.default.svc.cluster.local"
        return bench.shell("far", query).stdout.strip()

    assert eventually(looked_up, "the cluster's DNS answers") == "10.96.0.1"


def test_the_pod_has_one_address_and_the_router_as_gateway(bench: Bench, addresses):
    routes = bench.shell("near", "ip -o -4 addr show eth0; ip route").stdout
    assert f"{addresses['near']}/32" in routes
    gateway = routes.split("default via ")[1].split()[0]
    assert gateway.rsplit(".", 1)[0] == addresses["near"].rsplit(".", 1)[0]


def test_the_host_end_has_no_address_and_no_proxy_arp(bench: Bench, addresses):
    shown = bench.cluster.exec("k8s-w1", "sh", "-c", "ip -o -4 addr; cat /proc/sys/net/ipv4/conf/lxc*/proxy_arp")
    assert "lxc" not in shown
    assert set(shown.split("\n")[-3:]) <= {"0", ""}
