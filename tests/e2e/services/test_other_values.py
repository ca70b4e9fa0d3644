"""The same services where Seta serves them otherwise: direct server return, Maglev, XDP, packet by packet for pods."""

import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from tests.e2e.services import manifests, matrix
from tests.e2e.services.ground import ROUTES, Ground
from tests.e2e.services.manifests import PLAN
from tests.e2e.steps import finished

DATAGRAMS = 20
TALK = f"""
import socket, sys
talk = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
talk.settimeout(2)
talk.connect((sys.argv[1], 80))
for _ in range({DATAGRAMS}):
    talk.send(bytes(64))
    print(talk.recv(100).decode())
"""
VISIT = "for port in $(seq 41000 41015); do nc -w 2 -p $port $0 80 </dev/null || echo lost; echo; done"


@pytest.mark.parametrize("service", [*PLAN["services"], matrix.HOST_PORT])
def test_a_service_does_what_its_spec_says(other_ground: Ground, service: str):
    wrong = matrix.settled(other_ground, [service])
    assert not wrong, wrong


def test_every_node_gives_a_connection_the_same_backend(other_ground: Ground):
    """Maglev: the router may send it to whichever."""
    address = manifests.outsides("balanced")["k8s-s"]
    network = next(one for one in ROUTES if one.startswith(address.rpartition(".")[0]))
    chosen = {}
    try:
        for node in other_ground.facts.nodes:
            other_ground.lead(network, node)
            answers = other_ground.cluster.exec("world", "sh", "-c", VISIT, address)
            chosen[node] = [line.split()[0] for line in answers.splitlines()]
    finally:
        other_ground.lead(network, ROUTES[network])
    assert set(chosen["k8s-s"]) == {"back-1", "back-2"}
    assert chosen["k8s-s"] == chosen["k8s-w1"] == chosen["k8s-w2"]


@contextlib.contextmanager
def whole_checksums(ground: Ground) -> Iterator[None]:
    """As on a wire; between two veths nobody would compute them, and XDP leaves such packets to the stack."""
    switch = ("ethtool", "-K", "eth0", "tx")
    ground.cluster.exec("world", *switch, "off")
    try:
        yield
    finally:
        ground.cluster.exec("world", *switch, "on")


def test_what_a_node_passes_on_never_comes_to_its_stack(other_ground: Ground):
    """Captures see what XDP has left over: of a conversation, its beginning."""
    cluster, address = other_ground.cluster, manifests.outsides("balanced")["k8s-s"]
    assert json.loads(cluster.exec("k8s-s", "ip", "-j", "link", "show", "ens5"))[0]["xdp"]["mode"] == 2, "generic"
    capture = ("timeout", "4", "tcpdump", "-lnni", "ens5", "udp", "and", "dst", "host", address)
    with whole_checksums(other_ground), cluster.popen_exec("k8s-s", "sh", "-c", f"{' '.join(capture)} || true") as seen:
        time.sleep(1.5)
        answers = cluster.exec("world", "python3", "-c", TALK, address).splitlines()
        captured = finished(seen).splitlines()
    assert len(answers) == DATAGRAMS
    assert len(set(answers)) == 1
    assert 1 <= len(captured) < DATAGRAMS / 4, captured
