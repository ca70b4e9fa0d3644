"""Real traffic between two nodes, in both routing modes: what the kernel makes of the programs' decisions."""

import socket
from collections.abc import Iterator

import pytest

from tests.datapath import datapath, nodes
from tests.datapath.nodes import Network

BULK = 8 << 20
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14  # not in Python's socket module


@pytest.fixture(scope="module", params=["tunnel", "native"])
def network(request: pytest.FixtureRequest, sandbox: object) -> Iterator[Network]:
    network = nodes.build(tunnel=request.param == "tunnel")
    yield network
    network.close()


def say_who(connection: socket.socket) -> None:
    connection.sendall(connection.getpeername()[0].encode())


def receive_all(connection: socket.socket) -> None:
    received = 0
    while received < BULK:
        received += len(connection.recv(1 << 16))
    connection.sendall(str(received).encode())


WAYS = [
    ("A", "B", "10.1.1.11"),
    ("B", "A", "10.1.1.12"),
    ("A", "A", "10.1.1.11"),
    ("A", "R", "10.1.1.11"),
    ("R", "A", "10.1.2.21"),
    ("A", "node", "10.1.1.11"),
    ("A", "router", "10.1.1.11"),
    ("node", "A", "10.1.1.1"),
    ("A", "outside", "192.168.50.1"),
    ("R", "outside", "192.168.50.2"),
]
BY_MODE = {
    "tunnel": [("A", "node2", "192.168.50.1"), ("node", "R", "10.1.1.1"), ("R", "router", "10.1.2.21")],
    "native": [("A", "node2", "10.1.1.11"), ("node", "R", "192.168.50.1")],
}


@pytest.mark.parametrize(("client", "server", "seen"), WAYS)
def test_tcp(network: Network, client: str, server: str, seen: str):
    port = network.listen("node" if server == "router" else server, say_who)
    with network.connect(client, server, port) as connection:
        assert connection.recv(64).decode() == seen


def test_tcp_as_the_mode_has_it(network: Network, request: pytest.FixtureRequest):
    mode = "tunnel" if "tunnel" in request.node.callspec.id else "native"
    for client, server, seen in BY_MODE[mode]:
        port = network.listen("node" if server == "router" else server, say_who)
        with network.connect(client, server, port) as connection:
            assert (client, server, connection.recv(64).decode()) == (client, server, seen)


def test_a_node_that_has_another_mac_by_now_is_asked_for_it(network: Network):
    """Nothing but pods' connections goes that way, and no stack sees these."""
    nodes.mistake(network.places["node"], datapath.language.address("node2"))
    port = network.listen("R", say_who)
    with network.connect("A", "R", port) as connection:
        assert connection.recv(64).decode() == "10.1.1.11"


@pytest.mark.parametrize(("client", "server"), [("A", "B"), ("A", "R"), ("A", "outside"), ("node", "R"), ("R", "node")])
def test_bulk(network: Network, client: str, server: str):
    port = network.listen(server, receive_all)
    with network.connect(client, server, port) as connection:
        connection.sendall(b"x" * BULK)
        assert int(connection.recv(64)) == BULK


@pytest.mark.parametrize(("client", "server"), [("A", "B"), ("A", "R"), ("A", "outside")])
@pytest.mark.parametrize("size", [10, 4000])
def test_udp_also_in_fragments(network: Network, client: str, server: str, size: int):
    answering = network.places[server].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    asking = network.places[client].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with answering, asking:
        for one in (answering, asking):
            one.settimeout(3)
        answering.bind(("0.0.0.0", 0))
        where = nodes.OUTSIDE if server == "outside" else nodes.datapath.language.address(server)
        asking.sendto(b"x" * size, (where, answering.getsockname()[1]))
        said, sender = answering.recvfrom(65535)
        answering.sendto(said[::-1], sender)
        assert len(asking.recv(65535)) == size


def test_a_port_nobody_listens_on_is_refused_at_once(network: Network):
    for target in ("B", "R", "outside"):
        with pytest.raises(ConnectionRefusedError):
            network.connect("A", target, 9)
        asking = network.places["A"].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        with asking:
            asking.settimeout(3)
            where = nodes.OUTSIDE if target == "outside" else nodes.datapath.language.address(target)
            asking.connect((where, 9))
            asking.send(b"?")
            with pytest.raises(ConnectionRefusedError):  # the ICMP error found its way through conntrack and masquerade
                asking.recv(64)


def test_a_pod_is_told_when_its_packets_are_too_long(network: Network):
    """In the tunnel for the VXLAN device, natively for the node's: the stack answers, the error is let through."""
    narrow, wide = network.towards_nodes
    network.places["node"].ip(f"link set {narrow} mtu 1400")
    with network.places["A"].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        asking.connect((nodes.datapath.language.address("R"), 9))
        asking.send(b"x" * 1410)
        with pytest.raises(OSError, match="too long"):
            asking.send(b"x" * 1410)
        told = asking.getsockopt(socket.IPPROTO_IP, IP_MTU)
    network.places["node"].ip(f"link set {narrow} mtu {wide}")
    assert told == 1400


def test_an_enforced_policy_is_silence(network: Network):
    port = network.listen("R", say_who)
    remote = network.datapaths["node2"]
    nodes.set_flags(remote, "R", 0)
    try:
        with pytest.raises(TimeoutError):
            network.connect("A", "R", port, timeout=0.5)
    finally:
        nodes.set_flags(remote, "R", nodes.OPEN)
    with network.connect("A", "R", port) as connection:
        assert connection.recv(64)
