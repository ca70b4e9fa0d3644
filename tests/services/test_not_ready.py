"""A backend turns not ready: what each node's maps have of it then. What is open stays open, and nothing new comes."""

import pytest

from tests.services import render
from tests.services.test_cases import nodes
from tests.services.world import World

OWN, OTHER = "10.0.1.5", "10.0.2.5"  # pods on nodes a and b
READY, TURNED = {"ready": True}, {"ready": False, "serving": False, "terminating": False}
FRONT = "10.96.0.1:80"


def service(**spec):
    ports = [{"port": 80, "nodePort": 30080}]
    body = {"type": "NodePort", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": ports, **spec}
    return {"kind": "Service", "metadata": {"name": "web"}, "spec": body}


def endpoints(own, other, protocol="TCP"):
    """By their conditions."""
    meta = {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}
    found = [
        {"addresses": [OWN], "nodeName": "a", "conditions": own},
        {"addresses": [OTHER], "nodeName": "b", "conditions": other},
    ]
    return {
        "kind": "EndpointSlice",
        "metadata": meta,
        "ports": [{"port": 8080, "protocol": protocol}],
        "endpoints": found,
    }


@pytest.fixture
def world():
    made = World()
    made.start({}, {})
    for name in ("a", "b"):
        made.apply(nodes()[name])
    return made


def become(world, *pieces):
    for piece in pieces:
        world.apply(piece)
        world.settle()


def lines(world, start, node="a"):
    """Of a node's maps."""
    return [line for line in render.maps(world.agents[node].kernel) if line.startswith(start)]


def test_it_keeps_a_slot_that_no_new_connection_gets(world):
    become(world, service(), endpoints(READY, READY), endpoints(TURNED, READY))
    assert lines(world, FRONT) == [f"{FRONT}/TCP [ClusterIP] => {OTHER}:8080 + {OWN}:8080"]
    assert lines(world, "backends") == [f"backends: {OWN}:8080/TCP quarantined, {OTHER}:8080/TCP"]


def test_when_no_other_serves_new_connections_are_refused(world):
    become(world, service(), endpoints(READY, READY), endpoints(TURNED, TURNED))
    assert lines(world, FRONT) == [f"{FRONT}/TCP [ClusterIP] => - + {OWN}:8080, {OTHER}:8080"]


def test_an_ending_backend_that_serves_comes_before_it(world):
    ending = {"ready": False, "serving": True, "terminating": True}
    become(world, service(), endpoints(READY, READY), endpoints(TURNED, ending))
    assert lines(world, FRONT) == [f"{FRONT}/TCP [ClusterIP] => {OTHER}:8080 + {OWN}:8080"]


def test_with_traffic_policy_local_its_node_has_none(world):
    become(world, service(externalTrafficPolicy="Local"), endpoints(READY, READY), endpoints(TURNED, READY))
    (outside, inside) = lines(world, "192.168.1.1:30080")
    assert outside.endswith(f"=> - + {OWN}:8080")
    assert inside.endswith(f"=> {OTHER}:8080 + {OWN}:8080")


def test_a_client_is_not_kept_at_it(world):
    become(world, service(sessionAffinity="ClientIP"), endpoints(READY, READY), endpoints(TURNED, READY))
    assert lines(world, f"keeps {FRONT}") == [f"keeps {FRONT}/TCP: {OTHER}:8080/TCP"]


def test_with_maglev_it_has_no_share(world):
    world.start({"bpf-lb-algorithm": "maglev"}, {})
    become(world, service(), endpoints(READY, READY), endpoints(TURNED, READY))
    assert lines(world, "maglev 192.168.1.1") == [f"maglev 192.168.1.1:30080/TCP: {OTHER}:8080/TCP"]


def test_it_serves_again_when_it_is_ready_again(world):
    become(world, service(), endpoints(READY, READY))
    before = list(render.maps(world.agents["a"].kernel))
    become(world, endpoints(TURNED, READY), endpoints(READY, READY))
    assert list(render.maps(world.agents["a"].kernel)) == before


def test_over_udp_it_is_gone(world):
    ports = [{"port": 80, "nodePort": 30080, "protocol": "UDP"}]
    become(world, service(ports=ports), endpoints(READY, READY, "UDP"), endpoints(TURNED, READY, "UDP"))
    assert lines(world, "backends") == [f"backends: {OTHER}:8080/UDP"]


def test_published_before_it_is_ready_it_serves(world):
    published = {"ready": True, "serving": False, "terminating": False}
    become(world, service(publishNotReadyAddresses=True), endpoints(READY, READY), endpoints(published, READY))
    assert lines(world, FRONT) == [f"{FRONT}/TCP [ClusterIP] => {OWN}:8080, {OTHER}:8080"]


def test_it_is_known_after_everybody_restarted(world):
    become(world, service(), endpoints(READY, READY), endpoints(TURNED, READY))
    before = list(render.maps(world.agents["a"].kernel))
    world.start({}, {})
    world.settle()
    assert list(render.maps(world.agents["a"].kernel)) == before
