"""Maglev tables have the length the cluster's value says: the kernel's map of tables holds one length only."""

import os

import pytest

from seta_agent.bpf import syscall
from seta_agent.bpf.errors import BpfError, Reason
from tests.datapath.agent.conftest import on_a_node

KEY = (7).to_bytes(2, "big")  # rev-nat index of a service


def put_table(lab, words):
    """A table of so many words for the service."""
    outer = lab.agent.maps().open("cilium_lb4_maglev")
    inner = syscall.map_create(syscall.ARRAY, "maglev", 4, 4 * words, 1)
    try:
        outer.set(KEY, inner.to_bytes(4, "little"))
    finally:
        os.close(inner)
        outer.close()


def has_table(lab):
    outer = lab.agent.maps().open("cilium_lb4_maglev")
    try:
        return outer.lookup(KEY) is not None
    finally:
        outer.close()


@on_a_node
async def test_tables_stay_over_a_restart_until_services_are_listed(lab):
    await lab.start(bpf_lb_maglev_table_size=1021)
    put_table(lab, 1021)
    await lab.start(listed=False)
    assert has_table(lab)


@on_a_node
async def test_another_length_starts_anew(lab):
    await lab.start(bpf_lb_maglev_table_size=1021)
    put_table(lab, 1021)
    await lab.start(bpf_lb_maglev_table_size=251)
    assert not has_table(lab)
    with pytest.raises(BpfError) as refused:
        put_table(lab, 1021)
    assert refused.value.reason is Reason.INVALID
    put_table(lab, 251)
    assert has_table(lab)


@on_a_node
async def test_the_size_of_service_maps_is_one_value(lab):
    await lab.start(bpf_lb_map_max=2048)
    sizes = {}
    for name in lab.agent.maps().names():
        if name.startswith("cilium_lb"):
            opened = lab.agent.maps().open(name)
            sizes[name] = opened.info.max_entries
            opened.close()
    others = {name: size for name, size in sizes.items() if size != 2048}
    assert others == {"cilium_lb4_reverse_sk": 262144, "cilium_lb6_reverse_sk": 1024, "cilium_lb6_affinity": 1024}
    assert len(sizes) == 15
