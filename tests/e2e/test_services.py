"""ClusterIP services: none, one and several backends, from pods and from nodes, and under change."""

import pytest

from tests.e2e.steps import Bench, eventually, finished, pod, service

BACKENDS = tuple(pod(f"backend-{n}", node, labels={"tier": "back"}) for n, node in enumerate(("k8s-w1", "k8s-w2")))
CLIENT = pod("client", "k8s-w1")
SERVICE = service("backs", {"tier": "back"})
EMPTY = service("nobody", {"tier": "nobody"})


@pytest.fixture(scope="module")
def cluster_ip(bench: Bench):
    bench.start(CLIENT, *BACKENDS)
    for one in BACKENDS:
        bench.serve(one["metadata"]["name"])
    bench.apply(SERVICE, EMPTY)
    yield str(bench.get("service", "backs")["spec"]["clusterIP"])
    bench.delete(SERVICE, EMPTY, CLIENT, *BACKENDS)


def test_a_service_answers_over_tcp_and_udp(bench: Bench, cluster_ip):
    eventually(lambda: bench.connects("client", cluster_ip), "TCP answers")
    echoed = bench.shell("client", f"echo over-udp | nc -u -w 1 {cluster_ip} 7000").stdout
    assert "over-udp" in echoed


def test_a_node_reaches_services_too(bench: Bench, cluster_ip):
    for node in ("k8s-s", "k8s-w1"):
        bench.cluster.exec(node, "nc", "-z", "-w", "1", cluster_ip, "7000")


def test_the_pod_never_sends_to_the_virtual_address(bench: Bench, cluster_ip):
    captured = bench.shell(
        "client",
        f"timeout 6 tcpdump -nni eth0 -c 20 tcp port 7000 2>/dev/null & sleep 1; "
        f"for n in 1 2 3 4; do nc -z -w 1 {cluster_ip} 7000; done; wait",
    ).stdout
    addresses = [bench.get("pod", one["metadata"]["name"])["status"]["podIP"] for one in BACKENDS]
    assert any(f"> {address}.7000" in captured for address in addresses), captured
    assert cluster_ip not in captured


def test_every_backend_gets_its_share(bench: Bench, cluster_ip):
    capture = "timeout 5 tcpdump -lnni eth0 'tcp[tcpflags] == tcp-syn' 2>/dev/null"
    script = f"{capture} & sleep 1; for n in $(seq 40); do nc -z -w 1 {cluster_ip} 7000; done; wait"
    captured = bench.shell("client", script).stdout
    addresses = [bench.get("pod", one["metadata"]["name"])["status"]["podIP"] for one in BACKENDS]
    counts = [captured.count(f"> {address}.7000") for address in addresses]
    assert min(counts) >= 5, counts


def test_a_service_without_backends_refuses_at_once(bench: Bench, cluster_ip):
    nobody = bench.get("service", "nobody")["spec"]["clusterIP"]
    refused = bench.shell("client", f"curl -s --max-time 5 http://{nobody}:7000/; echo exit $?").stdout
    assert "exit 7" in refused  # curl: failed to connect, and not 28: timed out


def test_backends_come_and_go_without_a_failed_connection(bench: Bench, cluster_ip):
    """Pods join and leave the selector under load, and go on serving after they left."""
    load = bench.background("client", "crr", cluster_ip, "7000", "12", "0")
    more = [pod(f"extra-{n}", "k8s-w2", labels={"tier": "later"}) for n in range(2)]
    bench.start(*more)
    for one in more:
        bench.serve(one["metadata"]["name"])
        bench.kubectl("label", "pod", one["metadata"]["name"], "tier=back", "--overwrite")
    address = bench.get("pod", "extra-0")["status"]["podIP"]
    eventually(lambda: address in bench.cluster.seta("bpf", "lb", "list"), "the new backend is programmed")
    for one in more:
        bench.kubectl("label", "pod", one["metadata"]["name"], "tier=gone", "--overwrite")
    assert float(finished(load)) > 0
    bench.delete(*more)


def test_service_list_shows_frontends_and_backends(bench: Bench, cluster_ip):
    listed = bench.cluster.seta("service", "list", "--node", "k8s-w1")
    line = next(line for line in listed.splitlines() if f"{cluster_ip}:7000/TCP" in line)
    assert "ClusterIP" in line
    assert "(active)" in line
