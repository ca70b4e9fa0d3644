"""Real traffic of nodes that have policies of their own, in both routing modes."""

import socket
from collections.abc import Iterator

import pytest

from tests.datapath import language, nodes
from tests.datapath.nodes import Network

TCP, UDP, SCTP, ICMP = 6, 17, 132, 1
WORLD, REMOTE_NODE, POD_A, POD_R = 2, 6, 1001, 2001
CIDR = 0x01000063  # the host outside, as a policy names it: too long for a VNI
NOBODY = ("ingress", 77, 0, 0), ("egress", 77, 0, 0)  # both directions enforced, nobody allowed
TUNNEL = ("ingress", REMOTE_NODE, UDP, 8472), ("egress", REMOTE_NODE, UDP, 8472)


@pytest.fixture(scope="module", params=["tunnel", "native"])
def built(request: pytest.FixtureRequest, sandbox: object) -> Iterator[Network]:
    network = nodes.build(tunnel=request.param == "tunnel", host_firewall=1)
    yield network
    network.close()


@pytest.fixture
def network(built: Network) -> Iterator[Network]:
    yield built
    for node in nodes.ROUTERS:
        nodes.guard(built.datapaths[node], node)


def echo(connection: socket.socket) -> None:
    while said := connection.recv(64):
        connection.sendall(said)


def guard(network: Network, *rules: tuple[str, int, int, int], node: str = "node") -> None:
    nodes.guard(network.datapaths[node], node, *rules)


def reaches(network: Network, client: str, server: str, port: int) -> bool:
    try:
        with network.connect(client, server, port, timeout=0.4) as connection:
            connection.sendall(b"?")
            return connection.recv(8) == b"?"
    except TimeoutError:
        return False


def test_only_allowed_ports_are_open(network: Network):
    wanted, other = network.listen("node", echo), network.listen("node", echo)
    assert reaches(network, "outside", "node", other)
    guard(network, ("ingress", WORLD, TCP, wanted))
    assert reaches(network, "outside", "node", wanted)
    assert not reaches(network, "outside", "node", other)
    assert not reaches(network, "node2", "node", wanted)  # another node is not the world


def test_only_allowed_destinations_can_be_reached(network: Network):
    wanted, other = network.listen("outside", echo), network.listen("outside", echo)
    guard(network, ("egress", WORLD, TCP, wanted))
    assert reaches(network, "node", "outside", wanted)
    assert not reaches(network, "node", "outside", other)


def test_answers_come_back_whatever_may_come_in(network: Network):
    guard(network, ("ingress", 77, 0, 0))
    assert reaches(network, "node", "outside", network.listen("outside", echo))
    answering = network.places["outside"].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    asking = network.places["node"].run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with answering, asking:
        for one in (answering, asking):
            one.settimeout(3)
        answering.bind(("0.0.0.0", 0))
        asking.sendto(b"x" * 4000, (nodes.OUTSIDE, answering.getsockname()[1]))  # in fragments
        said, sender = answering.recvfrom(65535)
        answering.sendto(said, sender)
        assert len(asking.recv(65535)) == 4000
        asking.connect((nodes.OUTSIDE, 9))
        asking.send(b"?")
        with pytest.raises(ConnectionRefusedError):  # an ICMP error about what the node sent
            asking.recv(64)


def test_a_running_connection_outlives_its_permission(network: Network):
    """The one that would be cut is the administrator's."""
    port = network.listen("node", echo)
    with network.connect("outside", "node", port) as connection:
        guard(network, *NOBODY)
        connection.sendall(b"still there")
        assert connection.recv(64) == b"still there"
    assert not reaches(network, "outside", "node", port)


def test_pods_go_on_beside_a_node_that_refuses_everything(network: Network):
    for node in nodes.ROUTERS:
        guard(network, *NOBODY, *TUNNEL, node=node)
    for client, server in (("A", "B"), ("A", "R"), ("R", "B"), ("A", "outside"), ("node", "A")):
        assert reaches(network, client, server, network.listen(server, echo)), (client, server)


def test_pods_reach_the_node_as_its_policy_says(network: Network):
    port = network.listen("node", echo)
    guard(network, ("ingress", POD_A, TCP, port))
    assert reaches(network, "A", "node", port)
    assert not reaches(network, "B", "node", port)
    assert not reaches(network, "R", "node", port)


def test_without_the_tunnel_there_is_no_way_between_nodes(network: Network, request: pytest.FixtureRequest):
    guard(network, *NOBODY)
    tunnelled = "tunnel" in request.node.callspec.id
    assert reaches(network, "A", "R", network.listen("R", echo)) is not tunnelled


def test_the_node_reaches_pods_elsewhere_as_its_policy_says(network: Network):
    wanted, other = network.listen("R", echo), network.listen("R", echo)
    guard(network, ("egress", POD_R, TCP, wanted), *TUNNEL)
    assert reaches(network, "node", "R", wanted)
    assert not reaches(network, "node", "R", other)


@pytest.mark.parametrize("built", ["tunnel"], indirect=True)
def test_an_identity_too_long_for_the_tunnel_arrives_all_the_same(network: Network):
    """A host outside that routes to pods through the wrong node: its packets take the tunnel."""
    for loaded in network.datapaths.values():
        loaded.ipcache(nodes.OUTSIDE, CIDR)
    pods = nodes.CIDRS["node2"]
    network.places["outside"].ip(f"route add {pods} via {language.address('node')}")
    remote = network.datapaths["node2"]
    key = {"prefixlen": 40, "sec_label": CIDR}
    nodes.datapath.put(remote.policies[nodes.PODS["R"][1]], key, {"prefixlen": 40})
    nodes.set_flags(remote, "R", nodes.EGRESS_OPEN)
    try:
        assert reaches(network, "outside", "R", network.listen("R", echo))
        assert not reaches(network, "A", "R", network.listen("R", echo))
    finally:
        nodes.set_flags(remote, "R", nodes.OPEN)
        network.places["outside"].ip(f"route del {pods}")
        for loaded in network.datapaths.values():
            loaded.ipcache(nodes.OUTSIDE, WORLD)
