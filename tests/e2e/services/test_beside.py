"""What a matrix of single answers does not show: rollouts, health checks, a pod that wants to see the service."""

import pathlib
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e import graceful, moody
from tests.e2e.services import health
from tests.e2e.services.ground import Ground
from tests.e2e.steps import Bench, eventually, finished, pod, service
from tests.netbench import build

NODES = {"k8s-s": "192.168.10.10", "k8s-w1": "192.168.10.101", "k8s-w2": "192.168.10.102"}
OPTED_OUT = {"seta.dev/socket-lb": "false"}
ROLLED = service("rolled-out", {"app": "rolled-out"})
ROLLED["spec"]["type"] = "NodePort"


@pytest.fixture
def node_port(bench: Bench) -> Iterator[str]:
    deployment = graceful.deployment("rolled-out", 2)
    bench.apply(deployment, ROLLED)
    graceful.settled(bench, "rolled-out", 2)
    yield str(bench.get("service", "rolled-out")["spec"]["ports"][0]["nodePort"])
    bench.delete(ROLLED, deployment)


def test_the_world_notices_nothing_of_a_rollout_behind_node_ports(bench: Bench, node_port: str, tmp_path: pathlib.Path):
    """Through a node with backends and through one that seldom has any."""
    netbench = str(build.binary(tmp_path))
    arguments = ("300", str(graceful.PACE), str(graceful.PATIENCE))
    visit = [(netbench, "visit", "tcp", NODES[node], node_port, *arguments) for node in ("k8s-s", "k8s-w1")]
    for command in visit:
        once = (*command[:5], "1", *arguments[1:])
        eventually(lambda it=once: " 0 lost" in bench.cluster.exec("world", *it), "the node port answers", 60)
    visitors = [bench.cluster.popen_exec("world", *command) for command in visit]
    graceful.change(bench, "rolled-out", (4, 2))
    for visitor in visitors:
        visitor.send_signal(signal.SIGINT)
    printed = [finished(visitor) for visitor in visitors]
    assert all(" 0 lost" in text for text in printed), printed


def test_health_checks_say_which_nodes_have_backends(services_ground: Ground):
    health.settled(services_ground)


def test_connections_outlive_their_backends_readiness(bench: Bench):
    with moody.node_port(bench) as port:
        moody.turn_while_talking(bench, port)
        assert "(quarantined)" in bench.cluster.seta("service", "list", "--node", "k8s-w1")


def test_who_comes_back_after_the_timeout_of_the_affinity_may_get_another_backend(services_ground: Ground):
    """That he gets the same one before is part of the matrix."""

    def timeout(seconds: int) -> None:
        services_ground.patch("sticky", {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}})

    port = services_ground.services["sticky"]["spec"]["ports"][0]["nodePort"]
    ask = {place: [("TCP", NODES["k8s-w1"], port)] for place in services_ground.places}
    pairs: set[tuple[str, str]] = set()
    timeout(1)
    try:
        for _ in range(20):
            answers = services_ground.probed(ask)
            pairs |= {(place, answer.partition(" ")[0]) for place, (answer,) in answers.items()}
            if len(pairs) >= 2 * len(ask):
                break
            time.sleep(1.2)
    finally:
        timeout(60)
    assert pairs == {(place, backend) for place in ask for backend in ("back-1", "back-2")}


def test_a_pod_that_opted_out_sees_the_service_on_its_wire(bench: Bench):
    """So does the proxy beside an application, which must tell where the application wanted to go."""
    aware, server = pod("aware", "k8s-w1"), pod("served", "k8s-w2")
    aware["metadata"]["annotations"] = OPTED_OUT
    front = service("front", {"app": "served"})
    bench.start(aware, server)
    bench.serve("served")
    bench.apply(front)
    address = bench.get("service", "front")["spec"]["clusterIP"]
    try:
        eventually(lambda: bench.connects("aware", address), "the service answers")
        capture = "timeout 4 tcpdump -lnni eth0 tcp port 7000 2>/dev/null"
        script = f"{capture} & sleep 1; for n in 1 2 3; do nc -z -w 1 {address} 7000 || echo failed; done; wait"
        seen = bench.shell("aware", script).stdout
        assert f"> {address}.7000" in seen, seen
        assert f"{address}.7000 >" in seen, seen
        assert bench.get("pod", "served")["status"]["podIP"] not in seen
        assert "failed" not in seen
        assert "echoed" in bench.shell("aware", f"echo echoed | nc -u -w 1 {address} 7000").stdout
    finally:
        bench.delete(front, aware, server)
