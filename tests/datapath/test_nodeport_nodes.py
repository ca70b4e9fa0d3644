"""Real traffic to services through two nodes, in both routing modes: from outside, and packet by packet from pods."""

import socket
from collections.abc import Iterator

import pytest

from tests.datapath import datapath, nodes
from tests.datapath.lb_maps import LbMaps
from tests.datapath.nodeport import DSR, SERVICE_MAPS
from tests.datapath.nodes import OUTSIDE, Network

NODEPORT, LOADBALANCER, CLUSTER = 0x42, 0x60, 0x0
LB, CLUSTER_IP, ITSELF = "198.18.0.1", "10.250.0.1", "169.254.42.1"
PACKET_LB = 0x80
BULK = 8 << 20
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14  # not in Python's socket module


def _build(*, tunnel: bool) -> Iterator[Network]:
    network = nodes.build(tunnel=tunnel)
    network.places["outside"].ip(f"route add {LB} via {datapath.language.address('node')}")
    for loaded in network.datapaths.values():
        loaded.ipcache(OUTSIDE, 2)
    for pod in ("A", "B"):
        nodes.set_flags(network.datapaths["node"], pod, nodes.OPEN | PACKET_LB)
    yield network
    network.close()


@pytest.fixture(scope="module")
def _tunnel(sandbox: object) -> Iterator[Network]:
    yield from _build(tunnel=True)


@pytest.fixture(scope="module")
def _native(sandbox: object) -> Iterator[Network]:
    yield from _build(tunnel=False)


@pytest.fixture
def tunnel(_tunnel: Network) -> Iterator[Network]:
    yield from _no_services(_tunnel)


@pytest.fixture
def native(_native: Network) -> Iterator[Network]:
    yield from _no_services(_native)


@pytest.fixture(params=["tunnel", "native"])
def network(request: pytest.FixtureRequest) -> Network:
    """Either mode: what must hold in both."""
    return request.getfixturevalue(request.param)


def _no_services(network: Network) -> Iterator[Network]:
    yield network
    for loaded in network.datapaths.values():
        for name in SERVICE_MAPS:
            datapath.empty(loaded.maps[name])


def publish(network: Network, front: str, port: int, protocol: str, *backends: tuple[str, int], flags: int) -> None:
    """On both nodes; `node`: a node port, under every node's own address."""
    there = [(datapath.language.address(name), to) for name, to in backends]
    for node, loaded in network.datapaths.items():
        maps = LbMaps(loaded.maps)
        own = datapath.language.address(node) if front == "node" else front
        maps.service(own, port, protocol, there, flags=flags, rev_nat=7)
        if front == "node":
            maps.service("0.0.0.0", port, protocol, there, flags=flags, rev_nat=8)


def say_who(connection: socket.socket) -> None:
    connection.sendall(connection.getpeername()[0].encode())


def receive_all(connection: socket.socket) -> None:
    received = 0
    while received < BULK:
        received += len(connection.recv(1 << 16))
    connection.sendall(str(received).encode())


def ask(network: Network, place: str, where: str, port: int) -> str:
    """Whom the server sees as the client; the client sees whom it asked."""
    with network.places[place].run(socket.create_connection, (where, port), 3) as connection:
        assert connection.getpeername()[0] == where
        return connection.recv(64).decode()


FROM_OUTSIDE = [("A", OUTSIDE), ("node", OUTSIDE), ("R", "192.168.50.1"), ("node2", "192.168.50.1")]


@pytest.mark.parametrize(("front", "flags"), [("node", NODEPORT), (LB, LOADBALANCER)])
@pytest.mark.parametrize(("backend", "seen"), FROM_OUTSIDE)
def test_tcp_from_outside(network: Network, backend: str, seen: str, front: str, flags: int):
    port = network.listen(backend, say_who)
    publish(network, front, 30080, "tcp", (backend, port), flags=flags)
    where = datapath.language.address("node") if front == "node" else front
    for _ in range(3):
        assert ask(network, "outside", where, 30080) == seen


@pytest.mark.parametrize("backend", ["A", "R"])
def test_a_client_that_has_another_mac_by_now_is_asked_for_it(network: Network, backend: str):
    """What it knows of the node it need not ask, so that the node's stack hears nothing of it."""
    port = network.listen(backend, say_who)
    publish(network, LB, 80, "tcp", (backend, port), flags=LOADBALANCER)
    ask(network, "outside", LB, 80)
    nodes.mistake(network.places["node"], OUTSIDE)
    ask(network, "outside", LB, 80)


@pytest.mark.parametrize("backend", ["A", "node", "R", "node2"])
def test_bulk_from_outside(network: Network, backend: str):
    publish(network, "node", 30080, "tcp", (backend, network.listen(backend, receive_all)), flags=NODEPORT)
    with network.connect("outside", "node", 30080) as connection:
        connection.sendall(b"x" * BULK)
        assert int(connection.recv(64)) == BULK


def talk(network: Network, place: str, where: str, backend: str, size: int) -> None:
    """There and back by UDP, to the service at port 30053."""
    answering = network.places[backend].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    asking = network.places[place].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with answering, asking:
        for one in (answering, asking):
            one.settimeout(3)
        answering.bind((datapath.language.address(backend), 0))
        front = where if where in (LB, CLUSTER_IP) else "node"
        publish(network, front, 30053, "udp", (backend, answering.getsockname()[1]), flags=NODEPORT)
        asking.connect((where, 30053))
        for _ in range(2):
            asking.send(b"x" * size)
            said, sender = answering.recvfrom(65535)
            answering.sendto(said[::-1], sender)
            assert len(asking.recv(65535)) == size


@pytest.mark.parametrize("backend", ["A", "node", "R", "node2"])
@pytest.mark.parametrize("size", [10, 4000])
def test_udp_from_outside_also_in_fragments(network: Network, backend: str, size: int):
    talk(network, "outside", datapath.language.address("node"), backend, size)
    talk(network, "outside", LB, backend, size)


def test_without_a_backend_the_client_is_refused_at_once(network: Network):
    publish(network, "node", 30080, "tcp", flags=NODEPORT)
    publish(network, "node", 30080, "udp", flags=NODEPORT)
    for place, target in (("outside", "node"), ("A", "node"), ("A", "node2")):
        with pytest.raises(ConnectionRefusedError):
            network.connect(place, target, 30080)
        with network.places[place].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(3)
            asking.connect((datapath.language.address(target), 30080))
            asking.send(b"?")
            with pytest.raises(ConnectionRefusedError):
                asking.recv(64)


@pytest.mark.parametrize("backend", ["A", "node", "R", "node2"])
def test_a_port_nobody_listens_on_is_refused_at_once(network: Network, backend: str):
    """The backend's own refusal, also the ICMP error, comes back in the service's name."""
    publish(network, "node", 30080, "tcp", (backend, 9), flags=NODEPORT)
    publish(network, "node", 30080, "udp", (backend, 9), flags=NODEPORT)
    for place in ("outside", "A"):
        with pytest.raises(ConnectionRefusedError):
            network.connect(place, "node", 30080)
        with network.places[place].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(3)
            asking.connect((datapath.language.address("node"), 30080))
            asking.send(b"?")
            with pytest.raises(ConnectionRefusedError):
                asking.recv(64)


def test_the_client_learns_that_the_tunnel_is_narrow(tunnel: Network):
    publish(tunnel, "node", 30053, "udp", ("R", 9), flags=NODEPORT)
    with tunnel.places["outside"].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        asking.connect((datapath.language.address("node"), 30053))
        asking.send(b"x" * 1472)
        with pytest.raises(OSError, match="too long"):
            asking.send(b"x" * 1472)
        assert asking.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1450


def test_the_source_is_kept_and_so_is_the_policy(network: Network):
    port = network.listen("A", say_who)
    publish(network, "node", 30080, "tcp", ("A", port), flags=NODEPORT)
    loaded = network.datapaths["node"]
    nodes.set_flags(loaded, "A", PACKET_LB)
    try:
        with pytest.raises(TimeoutError):
            network.connect("outside", "node", 30080, timeout=0.5)
    finally:
        nodes.set_flags(loaded, "A", nodes.OPEN | PACKET_LB)
    assert ask(network, "outside", datapath.language.address("node"), 30080) == OUTSIDE


def test_direct_server_return(native: Network):
    """The backend on the other node sees the client, and the client sees the service."""
    publish(native, LB, 80, "tcp", ("R", native.listen("R", say_who)), flags=LOADBALANCER | DSR)
    assert ask(native, "outside", LB, 80) == OUTSIDE
    publish(native, "node", 30080, "tcp", ("R", native.listen("R", say_who)), flags=NODEPORT | DSR)
    assert ask(native, "outside", datapath.language.address("node"), 30080) == OUTSIDE
    publish(native, LB, 81, "tcp", ("R", native.listen("R", receive_all)), flags=LOADBALANCER | DSR)
    with native.places["outside"].run(socket.create_connection, (LB, 81), 3) as connection:
        connection.sendall(b"x" * BULK)
        assert int(connection.recv(64)) == BULK


FROM_A = {
    "tunnel": [("B", "10.1.1.11"), ("A", ITSELF), ("R", "10.1.1.11"), ("node", "10.1.1.11"), ("node2", "192.168.50.1")],
    "native": [("B", "10.1.1.11"), ("A", ITSELF), ("R", "10.1.1.11"), ("node", "10.1.1.11"), ("node2", "10.1.1.11")],
}


@pytest.mark.parametrize("front", [CLUSTER_IP, LB, "node", "node2"])
def test_tcp_from_a_pod_packet_by_packet(network: Network, front: str, request: pytest.FixtureRequest):
    mode = "tunnel" if "tunnel" in request.node.callspec.id else "native"
    where = datapath.language.address(front) if front.startswith("node") else front
    for backend, seen in FROM_A[mode]:
        port = network.listen(backend, say_who)
        published = "node" if front.startswith("node") else front
        publish(network, published, 30080, "tcp", (backend, port), flags=NODEPORT)
        assert (backend, ask(network, "A", where, 30080)) == (backend, seen)


@pytest.mark.parametrize("backend", ["B", "A", "R", "node", "node2"])
@pytest.mark.parametrize("size", [10, 4000])
def test_udp_from_a_pod_packet_by_packet(network: Network, backend: str, size: int):
    talk(network, "A", CLUSTER_IP, backend, size)


@pytest.mark.parametrize("backend", ["B", "A", "R"])
def test_bulk_from_a_pod_packet_by_packet(network: Network, backend: str):
    publish(network, CLUSTER_IP, 80, "tcp", (backend, network.listen(backend, receive_all)), flags=CLUSTER)
    with network.places["A"].run(socket.create_connection, (CLUSTER_IP, 80), 3) as connection:
        connection.sendall(b"x" * BULK)
        assert int(connection.recv(64)) == BULK
