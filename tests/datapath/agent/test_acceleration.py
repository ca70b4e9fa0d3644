"""loadBalancer.acceleration, as the agent brings XDP to the native devices: what cannot be had is told."""

import os

import pytest

from seta_agent.bpf import syscall
from seta_agent.programmer.errors import ProgrammingError
from tests.datapath.agent.conftest import on_a_node

DEVICE = "ens5"
NATIVE = {"routing_mode": "native", "bpf_lb_acceleration": "native"}


def pins(lab):
    return sorted(path.name for path in lab.settings.links_dir.iterdir() if "_xdp_" in path.name)


def program(lab):
    """The program that a pinned link of the device runs."""
    fd = syscall.get(lab.settings.links_dir / pins(lab)[0])
    try:
        return syscall.link_info(fd).prog_id
    finally:
        os.close(fd)


@pytest.mark.parametrize(("wanted", "mode"), [("native", "native"), ("best-effort", "native"), ("generic", "generic")])
@on_a_node
async def test_xdp_comes_to_the_native_device(lab, wanted, mode):
    await lab.start(routing_mode="native", bpf_lb_acceleration=wanted)
    assert lab.agent.status()["acceleration"] == {DEVICE: mode}
    assert pins(lab) == [f"{DEVICE}_xdp_{mode}"]


@on_a_node
async def test_without_the_value_there_is_none(lab):
    await lab.start(routing_mode="native")
    assert lab.agent.status()["acceleration"] == {}
    assert pins(lab) == []


@on_a_node
async def test_another_value_takes_its_place(lab):
    await lab.start(**NATIVE)
    await lab.start(bpf_lb_acceleration="generic")
    assert pins(lab) == [f"{DEVICE}_xdp_generic"]
    await lab.start(bpf_lb_acceleration="disabled")
    assert pins(lab) == []


@on_a_node
async def test_a_restart_leaves_the_program_where_it_hangs(lab):
    await lab.start(**NATIVE)
    before = program(lab)
    await lab.start()
    assert program(lab) == before
    assert pins(lab) == [f"{DEVICE}_xdp_native"]


@on_a_node
async def test_a_restart_with_other_values_updates_the_program_where_it_hangs(lab):
    await lab.start(**NATIVE)
    before = program(lab)
    await lab.start(service_no_backend_response="drop")
    assert program(lab) != before
    assert pins(lab) == [f"{DEVICE}_xdp_native"]


@pytest.mark.parametrize("wanted", ["native", "best-effort"])
@on_a_node
async def test_a_device_that_another_program_has_is_left_to_it(lab, wanted):
    """Somebody else's XDP program: ours, attached by no agent."""
    await lab.start(**NATIVE)
    other = syscall.get(lab.settings.links_dir / pins(lab)[0])
    (lab.settings.links_dir / pins(lab)[0]).unlink()
    try:
        if wanted == "native":
            with pytest.raises(ProgrammingError, match=f"cannot be had on {DEVICE} .another XDP program is attached"):
                await lab.start(bpf_lb_acceleration=wanted)
        else:
            await lab.start(bpf_lb_acceleration=wanted)
            assert lab.agent.status()["acceleration"] == {DEVICE: "another XDP program is attached"}
        assert (lab.settings.links_dir / f"{DEVICE}_from_netdev").exists()
    finally:
        os.close(other)
