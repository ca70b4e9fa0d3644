"""Two labs, one per routing mode, loaded once; each test gets its lab empty."""

import os
import pathlib
from collections.abc import Iterator

import pytest

from tests.datapath.lab import LXC_MAC, Lab
from tests.datapath.language import GATEWAY_MAC
from tests.datapath.sandbox import Sandbox

DEVICES = (
    "link set lo up",
    *(f"link add lxc{pod} address {mac} type veth peer name pod{pod}" for pod, mac in LXC_MAC.items()),
    f"link add eth0 address {GATEWAY_MAC} type veth peer name wire",
    "link add seta_vxlan type vxlan external dstport 8472",
    *(f"link set {name} up" for name in ("lxcA", "lxcB", "podA", "podB", "eth0", "wire", "seta_vxlan")),
    "address add 192.168.50.1/24 dev eth0",
    "route add 10.1.2.0/24 via 192.168.50.2",
    "route add 203.0.113.0/24 via 192.168.50.99",
    "neigh add 192.168.50.99 lladdr 02:00:00:00:00:99 dev eth0 nud permanent",
    "neigh add 192.168.50.2 lladdr 02:00:00:00:00:52 dev eth0 nud permanent",
    "link set seta_vxlan mtu 1450",
)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    if os.geteuid():
        pytest.skip("datapath tests load eBPF: root needed")
    sandbox = Sandbox()
    sandbox.ip(*DEVICES)
    sandbox.run(_forward)
    yield sandbox
    sandbox.close()


def _forward() -> None:
    """As the agent sets it; /proc/sys/net is that of the namespace of the thread that opens it."""
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


@pytest.fixture(scope="session")
def _tunnel(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "tunnel", tunnel=1)


@pytest.fixture(scope="session")
def _native(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "native", tunnel=0, native_cidr4=0x0A010000, native_mask4=0xFFFF0000)


@pytest.fixture
def tunnel(_tunnel: Lab) -> Lab:
    _tunnel.reset()
    return _tunnel


@pytest.fixture
def native(_native: Lab) -> Lab:
    _native.reset()
    return _native


@pytest.fixture(scope="session")
def _guarded_tunnel(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "guarded-tunnel", tunnel=1, host_firewall=1)


@pytest.fixture(scope="session")
def _guarded_native(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "guarded-native", tunnel=0, host_firewall=1, native_cidr4=0x0A010000, native_mask4=0xFFFF0000)


@pytest.fixture
def guarded_tunnel(_guarded_tunnel: Lab) -> Lab:
    _guarded_tunnel.reset()
    return _guarded_tunnel


@pytest.fixture(params=["tunnel", "native"])
def guarded(request: pytest.FixtureRequest) -> Lab:
    """Either mode, with policies for the node itself."""
    lab: Lab = request.getfixturevalue(f"_guarded_{request.param}")
    lab.reset()
    return lab


@pytest.fixture(params=["tunnel", "native"])
def lab(request: pytest.FixtureRequest) -> Lab:
    """Either mode: what must hold in both."""
    return request.getfixturevalue(request.param)
