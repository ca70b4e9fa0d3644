"""A start takes the programs that an earlier one loaded, and only where they would come out the same."""

import os

import pytest

from seta_agent.bpf import syscall
from tests.datapath.agent.conftest import on_a_node


def programs(lab):
    """Program -> its number in the kernel, as pinned."""
    found = {}
    for path in lab.settings.programs_dir.glob("*/*/*"):
        fd = syscall.get(path)
        found[path.name] = syscall.program_id(fd)
        os.close(fd)
    return found


@on_a_node
async def test_a_restart_loads_nothing_and_traffic_goes_on(lab):
    await lab.start()
    client, server = await lab.add_pod(5), await lab.add_pod(6)
    before = programs(lab)
    assert {"from_container", "to_netdev", "sock4_connect"} <= before.keys()
    await lab.start()
    assert programs(lab) == before
    assert await lab.reaches(client, server)
    late = await lab.add_pod(7)  # its links need programs that this agent has not loaded itself
    assert await lab.reaches(client, late)


@pytest.mark.parametrize("setting", [{"enable_ipv4_masquerade": False}, {"bpf_lb_map_max": 4096}])
@on_a_node
async def test_other_constants_or_maps_make_other_programs(lab, setting):
    await lab.start()
    before = programs(lab)
    await lab.start(**setting)
    after = programs(lab)
    assert after.keys() == before.keys()
    assert after["from_netdev"] != before["from_netdev"]
    assert len(list(lab.settings.programs_dir.glob("from_netdev/*"))) == 1, "the old ones are not kept"


@on_a_node
async def test_a_map_that_somebody_made_anew_is_noticed(lab):
    await lab.start()
    before = programs(lab)
    (lab.settings.maps_dir / "cilium_lxc").unlink()
    await lab.start()
    after = programs(lab)
    assert after["from_container"] != before["from_container"]
    client, server = await lab.add_pod(5), await lab.add_pod(6)
    assert await lab.reaches(client, server)


@on_a_node
async def test_half_of_what_was_kept_is_nothing(lab):
    await lab.start()
    before = programs(lab)
    next(lab.settings.programs_dir.glob("sock/*/sock4_connect")).unlink()
    await lab.start()
    after = programs(lab)
    assert after.keys() == before.keys()
    assert after["sock6_connect"] != before["sock6_connect"]
    assert after["from_netdev"] == before["from_netdev"]
