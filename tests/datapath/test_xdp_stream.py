"""A connection from outside to a backend on another node, on a LAN of real devices: XDP alone carries it on."""

import hashlib
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from seta_agent.bpf import libbpf, syscall
from tests.datapath import datapath, nodes
from tests.datapath.datapath import OBJECTS, SIZES
from tests.datapath.lb_maps import LbMaps
from tests.datapath.nodes import Network

NODEPORT, PORT = 0x42, 30080
SENT = os.urandom(1 << 20)
WORLD, REMOTE = 2, 6


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if os.geteuid():
        pytest.skip("datapath tests load eBPF: root needed")
    network = nodes.build(tunnel=False)
    for place in ("outside", "R"):  # checksums as on a wire: XDP leaves to the stack what a veth leaves to nobody
        network.places[place].run(subprocess.run, ["ethtool", "-K", "eth0", "tx", "off", "gso", "off"], check=True)
    network.places["outside"].ip("route add 10.1.0.0/16 via 192.168.50.1")
    yield network
    network.close()


def load(network: Network) -> libbpf.Object:
    """The XDP program, on the node's maps."""
    node = network.datapaths["node"]
    loaded = libbpf.Object(OBJECTS / "xdp.bpf.o", node._root)
    for name in loaded.btf.maps.keys() & SIZES.keys():
        loaded.set_max_entries(name, SIZES[name])
    loaded.set_rodata("cfg", {"node_ip": {"v4": datapath.address("node")}, "nat_port_min": 61000})
    loaded.load()
    return loaded


def attach(network: Network, loaded: libbpf.Object, flags: int) -> list[int]:
    """To the node's device; for the driver's XDP also to the other end, which polls only with a program of its own."""
    ends = [("node", "eth0"), ("wire", "node")] if flags == syscall.XDP_NATIVE else [("node", "eth0")]
    program = loaded.program_fd("xdp_service")
    return [
        network.places[place].run(
            lambda d: syscall.link_create(program, socket.if_nametoindex(d), syscall.XDP, flags), d
        )
        for place, d in ends
    ]


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.mark.parametrize("flags", [syscall.XDP_GENERIC, syscall.XDP_NATIVE], ids=["generic", "native"])
def test_a_stream_goes_on_without_from_netdev(network: Network, flags: int):
    node = network.datapaths["node"]
    LbMaps(node.maps).service("192.168.50.1", PORT, "tcp", [("10.1.2.21", network.listen("R", echo))], flags=NODEPORT)
    loaded = network.places["node"].run(load, network)
    xdp = attach(network, loaded, flags)
    client = network.connect("outside", "node", PORT)
    try:
        client.settimeout(5)
        os.close(network.links.pop(0))  # from_netdev of the node: what follows has no other way than XDP
        got = hashlib.sha256()
        for at in range(0, len(SENT), 4096):
            client.sendall(SENT[at : at + 4096])
            left = 4096
            while left:
                data = client.recv(left)
                assert data, "the other side has ended the connection"
                got.update(data)
                left -= len(data)
        assert got.digest() == hashlib.sha256(SENT).digest()
    finally:
        client.close()
        for link in xdp:
            os.close(link)
        again = node.objects["from_netdev"].program_fd("from_netdev")
        device = node.ifindex["eth0"]
        network.links.insert(0, network.places["node"].run(syscall.link_create, again, device, syscall.TCX_INGRESS))
