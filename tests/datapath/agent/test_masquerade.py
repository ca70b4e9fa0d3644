"""What the node is called on each of its native devices."""

import socket

from seta_agent.desired.encode import ip_of
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.test_programmer import ip


def called(lab):
    """Device -> address, of those that do not have the InternalIP."""
    keys, values = lab.agent.dump_map("seta_masquerade")
    found = zip(keys, values, strict=True)
    return {socket.if_indextoname(int(k["ifindex"])): str(ip_of(v["ip"].tobytes(), k["family"])) for k, v in found}


@on_a_node
async def test_each_native_device_has_the_address_that_the_kernel_takes(lab):
    ip("link", "add", "ens6", "type", "veth", "peer", "name", "ens6-lan")
    ip("link", "set", "ens6", "up")
    await lab.start(devices=("ens6", "ens5"))
    assert called(lab) == {}
    for address in ("203.0.113.9/24", "203.0.113.8/24", "198.51.100.1/24"):
        ip("addr", "add", address, "dev", "ens6")
    ip("addr", "add", "192.168.50.7/24", "dev", "ens5")
    await lab.until(lambda: called(lab) == {"ens6": "203.0.113.9"})
    await lab.start(listed=False)
    assert called(lab) == {"ens6": "203.0.113.9"}
    ip("addr", "del", "203.0.113.9/24", "dev", "ens6")
    await lab.until(lambda: called(lab) == {"ens6": "198.51.100.1"})
    ip("addr", "flush", "dev", "ens6")
    await lab.until(lambda: called(lab) == {})


@on_a_node
async def test_a_device_that_is_not_native_is_nobodys_way_out(lab):
    ip("link", "add", "ens6", "type", "veth", "peer", "name", "ens6-lan")
    ip("addr", "add", "203.0.113.9/24", "dev", "ens6")
    await lab.start()
    assert called(lab) == {}
