"""ARP of a pod is answered by the program itself: the host end of the veth has no address."""

import pytest
from scapy.layers.l2 import ARP, Ether

from tests.datapath.lab import LXC_MAC, POD_MAC, Lab
from tests.datapath.language import WORLD


def ask(source: str = "A", target: str = "router", **fields: object) -> bytes:
    ether = Ether(src=POD_MAC["A"], dst="ff:ff:ff:ff:ff:ff")
    return bytes(ether / ARP(hwsrc=POD_MAC["A"], psrc=WORLD[source], pdst=WORLD[target], **fields))


@pytest.mark.parametrize("target", ["router", "B", "node", "W"])
def test_any_neighbour_is_the_host_end_of_the_veth(lab: Lab, target: str):
    outcome = lab.send("from_container", ask(target=target))
    answer = outcome.packet[ARP]
    assert outcome.action == "redirect"
    assert (outcome.packet.src, outcome.packet.dst) == (LXC_MAC["A"], POD_MAC["A"])
    assert (answer.op, answer.hwsrc, answer.psrc) == (2, LXC_MAC["A"], WORLD[target])
    assert (answer.hwdst, answer.pdst) == (POD_MAC["A"], WORLD["A"])


def test_a_pod_announcing_itself_gets_no_answer(lab: Lab):
    outcome = lab.send("from_container", ask(target="A"))
    assert (outcome.action, outcome.packet[ARP].op) == ("ok", 1)


def test_a_pods_answer_goes_to_the_stack(lab: Lab):
    assert lab.send("from_container", ask(op=2)).action == "ok"


@pytest.mark.parametrize("source", ["B", "nobody", "node"])
def test_nobody_asks_with_another_ones_address(lab: Lab, source: str):
    assert lab.send("from_container", ask(source)).says == "drop INVALID_SOURCE_IP"


@pytest.mark.parametrize("fields", [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}], ids=str)
def test_arp_of_something_else(lab: Lab, fields: dict[str, int]):
    assert lab.send("from_container", ask(**fields)).says == "drop INVALID_PACKET"


@pytest.mark.parametrize("length", range(14, 42))
def test_truncated(lab: Lab, length: int):
    assert lab.send("from_container", ask()[:length]).says == "drop INVALID_PACKET"
