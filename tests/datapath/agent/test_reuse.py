"""Addresses are used again: the next pod inherits nothing of the one before, and others lose nothing."""

import ipaddress

import numpy as np

from seta_agent.desired.endpoints import Flag
from tests.datapath.agent.conftest import on_a_node

TABLE = "cilium_ct_any4_global"


def pairs(lab):
    """The addresses between which connections are known, as numbers of the last byte."""
    keys, _ = lab.agent.dump_map(TABLE)
    return {frozenset((int(key["saddr"]) & 0xFF, int(key["daddr"]) & 0xFF)) for key in keys}


@on_a_node
async def test_what_is_remembered_of_a_pod_goes_with_it(lab):
    await lab.start()
    one, other, third = [await lab.add_pod(number) for number in (5, 6, 7)]
    for source, target in ((one, other), (other, third), (third, one)):
        assert await lab.reaches(source, target)
    assert pairs(lab) == {frozenset((5, 6)), frozenset((6, 7)), frozenset((7, 5))}
    lab.tables.endpoints.delete(5)
    await lab.agent.endpoint_removed(5)
    assert pairs(lab) == {frozenset((6, 7))}


@on_a_node
async def test_masqueraded_connections_go_too(lab):
    await lab.start()
    layout = lab.agent.maps().open("cilium_snat_v4_external")
    node, pod, world = (int(ipaddress.ip_address(a)) for a in ("192.168.50.1", "10.1.1.5", "203.0.113.5"))
    await lab.add_pod(5)
    for flags, source, target, to in ((0, pod, world, node), (1, world, node, pod), (1, world, node, pod + 1)):
        entry, info = np.zeros(1, layout.key), np.zeros(1, layout.value)
        entry["saddr"], entry["daddr"], entry["flags"], entry["sport"] = source, target, flags, to & 0xFFFF
        info["to_addr"] = to
        layout.update(entry, info)
    lab.tables.endpoints.delete(5)
    await lab.agent.endpoint_removed(5)
    _, left = layout.dump()
    assert [int(value["to_addr"]) for value in left] == [pod + 1]
    layout.close()


@on_a_node
async def test_what_is_read_can_be_deleted(lab):
    """Keys with big-endian fields and unions are handed back as they are in the kernel."""
    await lab.start()
    one, other = await lab.add_pod(5), await lab.add_pod(6)
    assert await lab.reaches(one, other)
    for name in (TABLE, "cilium_lxc", "cilium_ipcache_v2"):
        opened = lab.agent.maps().open(name)
        keys, values = opened.dump()
        assert len(keys) > 0
        opened.delete(keys[: len(keys) // 2])
        opened.delete(keys[len(keys) // 2 :])
        assert len(opened.dump()[0]) == 0
        opened.update(keys, values)
        assert sorted(key.tobytes() for key in opened.dump()[0]) == sorted(key.tobytes() for key in keys)
        opened.close()


@on_a_node
async def test_maps_that_nobody_uses_yet_are_small(lab):
    await lab.start(bpf_ct_global_tcp_max=8192, bpf_ct_global_any_max=8192)
    sizes = {}
    for name in (TABLE, "cilium_ct6_global", "cilium_ct_any6_global", "cilium_lb6_reverse_sk"):
        opened = lab.agent.maps().open(name)
        sizes[name] = opened.info.max_entries
        opened.close()
    assert sizes == {
        TABLE: 8192,
        "cilium_ct6_global": 1024,
        "cilium_ct_any6_global": 1024,
        "cilium_lb6_reverse_sk": 1024,
    }


@on_a_node
async def test_audit_is_in_the_endpoints_flags(lab):
    await lab.start()
    await lab.add_pod(5, audit=True)
    await lab.add_pod(6)
    keys, values = lab.agent.dump_map("cilium_lxc")
    audited = {int(value["lxc_id"]): bool(value["flags"] & Flag.AUDIT) for value in values}
    assert (audited[5], audited[6]) == (True, False)
    assert len(keys) == 4
