"""NodePorts and HostPorts from inside: by loopback, by any node's address; and what pods may ask to be left alone."""

from collections.abc import Iterator

import pytest

from tests.datapath.sandbox import Sandbox
from tests.datapath.sock_lab import NODE, SockLab

ANY, ANY6, OTHER, STRANGER = "0.0.0.0", "::", "192.168.77.2", "192.168.77.9"
NODEPORT, HOSTPORT, EXT_LOCAL, INT_LOCAL, TWO_SCOPES = 0x42, 0x48, 0x4, 0x1000, 0x2000
REMOTE_NODE, WORLD, KUBE_APISERVER, NAMED_NODE, POD_IDENTITY = 6, 2, 7, 0x02000003, 4711
NOWHERE = {"error": "OSError"}  # the network is unreachable: nothing was translated


@pytest.fixture(scope="module")
def lab(sandbox: Sandbox) -> Iterator[SockLab]:
    lab = SockLab(sandbox, "nodes")
    lab.lb.node_address(NODE)
    lab.lb.identity(OTHER, REMOTE_NODE)
    yield lab
    lab.close()


def expose(lab: SockLab, port: int, name: str, flags: int, protocol: str = "tcp", **how: int) -> None:
    """The surrogate of a port, with a backend that pods can reach as well."""
    lab.lb.service(ANY, port, protocol, [(NODE, lab.serve(name, protocol, NODE))], flags=flags, **how)


@pytest.mark.parametrize("how", ["tcp", "udp-connected", "udp"])
def test_a_node_port_on_loopback(lab: SockLab, how: str):
    expose(lab, 30080, "backend", NODEPORT, how.split("-", maxsplit=1)[0])
    assert lab.ask(how, "127.0.0.1", 30080) == {"says": "backend", "peer": ["127.0.0.1", 30080]}
    assert lab.ask(how, "127.1.2.3", 30080)["says"] == "backend"


def test_a_node_port_on_ipv6_loopback(lab: SockLab):
    port = lab.serve("six", "tcp", "::1")
    lab.lb.service(ANY6, 30080, "tcp", [("::1", port)], flags=NODEPORT)
    assert lab.ask("tcp", "::1", 30080) == {"says": "six", "peer": ["::1", 30080]}
    assert lab.ask("tcp", "::", 30080)["says"] == "six"


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_pods_loopback_is_its_own(lab: SockLab, address: str):
    expose(lab, 30081, "backend", NODEPORT)
    lab.lb.service(ANY6, 30081, "tcp", [("fd00:77::1", lab.serve("six", "tcp", "fd00:77::1"))], flags=NODEPORT)
    assert lab.ask("tcp", address, 30081, pod=True) == {"error": "ConnectionRefusedError"}


def test_a_host_port_on_loopback_is_not_the_pods(lab: SockLab):
    """hostIP 127.0.0.1: the frontend itself is a loopback address."""
    lab.lb.service("127.0.0.1", 8090, "tcp", [(NODE, lab.serve("backend", "tcp", NODE))], flags=HOSTPORT)
    assert lab.ask("tcp", "127.0.0.1", 8090)["says"] == "backend"
    assert lab.ask("tcp", "127.0.0.1", 8090, pod=True) == {"error": "ConnectionRefusedError"}


@pytest.mark.parametrize("pod", [False, True])
def test_a_node_port_on_another_node(lab: SockLab, *, pod: bool):
    expose(lab, 30082, "backend", NODEPORT)
    assert lab.ask("tcp", OTHER, 30082, pod=pod) == {"says": "backend", "peer": [OTHER, 30082]}


@pytest.mark.parametrize("identity", [KUBE_APISERVER, NAMED_NODE])
def test_a_node_is_a_node_however_it_is_called(lab: SockLab, identity: int):
    lab.lb.identity("192.168.77.3", identity)
    expose(lab, 30083, "backend", NODEPORT)
    assert lab.ask("tcp", "192.168.77.3", 30083)["says"] == "backend"


@pytest.mark.parametrize("identity", [WORLD, POD_IDENTITY, 0])
def test_what_is_no_node_has_no_node_ports(lab: SockLab, identity: int):
    lab.lb.identity(STRANGER, identity)
    expose(lab, 30084, "backend", NODEPORT)
    assert lab.ask("tcp", STRANGER, 30084) == NOWHERE


def test_no_node_ports_but_of_the_protocol(lab: SockLab):
    expose(lab, 30085, "backend", NODEPORT, "tcp")
    assert lab.ask("udp", "127.0.0.1", 30085) == {"error": "TimeoutError"}


@pytest.mark.parametrize("pod", [False, True])
def test_a_host_port_on_the_nodes_own_address(lab: SockLab, *, pod: bool):
    expose(lab, 8080, "backend", HOSTPORT)
    assert lab.ask("tcp", NODE, 8080, pod=pod) == {"says": "backend", "peer": [NODE, 8080]}


def test_a_host_port_is_of_this_node_only(lab: SockLab):
    expose(lab, 8081, "backend", HOSTPORT)
    assert lab.ask("tcp", OTHER, 8081) == NOWHERE


def test_the_addresses_own_entry_comes_first(lab: SockLab):
    expose(lab, 30086, "surrogate", NODEPORT)
    lab.lb.service(NODE, 30086, "tcp", [(NODE, lab.serve("own", "tcp", NODE))], flags=NODEPORT)
    assert lab.ask("tcp", NODE, 30086)["says"] == "own"


def test_inside_the_inner_scope_counts(lab: SockLab):
    for scope, name in enumerate(("outside", "inside")):
        expose(lab, 30087, name, NODEPORT | EXT_LOCAL | TWO_SCOPES, scope=scope)
    for address in ("127.0.0.1", OTHER):
        assert lab.ask("tcp", address, 30087)["says"] == "inside"


def test_a_local_service_without_local_backends_is_refused(lab: SockLab):
    lab.lb.service("10.96.0.41", 80, "tcp", [(NODE, 1)], flags=INT_LOCAL | TWO_SCOPES)
    lab.lb.service("10.96.0.41", 80, "tcp", [], flags=INT_LOCAL | TWO_SCOPES, scope=1)
    assert lab.ask("tcp", "10.96.0.41", 80) == {"error": "ConnectionRefusedError"}


def test_source_ranges_are_for_the_world(lab: SockLab):
    """The short way inside leads past the balancer that the ranges stand at."""
    lab.lb.service("203.0.113.80", 80, "tcp", [(NODE, lab.serve("backend", "tcp", NODE))], flags=0x60 | 0x80)
    assert lab.ask("tcp", "203.0.113.80", 80, pod=True)["says"] == "backend"


def test_a_pod_that_opts_out_sees_the_services_address(lab: SockLab):
    lab.lb.service("10.96.0.40", 80, "tcp", [(NODE, lab.serve("backend", "tcp", NODE))])
    lab.lb.put("seta_sock_optout", lab.cookie(pod=True), 1)
    try:
        assert lab.ask("tcp", "10.96.0.40", 80, pod=True) == NOWHERE
        assert lab.ask("tcp", "10.96.0.40", 80)["says"] == "backend"
    finally:
        lab.lb.remove("seta_sock_optout", lab.cookie(pod=True))
    assert lab.ask("tcp", "10.96.0.40", 80, pod=True)["says"] == "backend"


def test_sockets_of_the_node_only(sandbox: Sandbox, lab: SockLab):
    del lab  # it holds the name of the device: another lab comes after it
    other = SockLab(sandbox, "hostonly", device="sock1", sock_host_only=1)
    try:
        other.lb.service("10.96.0.40", 80, "tcp", [("127.0.0.1", other.serve("backend", "tcp"))])
        assert other.ask("tcp", "10.96.0.40", 80)["says"] == "backend"
        assert other.ask("tcp", "10.96.0.40", 80, pod=True) == NOWHERE
    finally:
        other.close()
