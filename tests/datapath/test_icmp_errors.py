"""ICMP errors belong to the connection they speak of: path MTU discovery works through any policy."""

import pytest

from tests.datapath.lab import Lab
from tests.datapath.language import packet

CAUSES = ["tcp syn 80", "udp 53", "icmp echo 9", "sctp 9"]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("error", ["unreachable", "fragmentation-needed", "expired"])
def test_about_what_a_pod_sent(native: Lab, error: str, cause: str):
    native.policy("A ingress enforced")
    native.send("from_container", f"A to R {cause}")
    assert native.send("from_netdev", f"R to A icmp {error} about A to R {cause}").says == "to-endpoint related"
    assert native.send("from_netdev", f"W to A icmp {error} about A to R {cause}").says == "to-endpoint related"
    assert native.send("to_container", f"node2 to A icmp {error} about A to R {cause}").says == "to-endpoint related"


@pytest.mark.parametrize("cause", CAUSES)
def test_about_what_came_to_a_pod(native: Lab, cause: str):
    native.policy("A egress enforced")
    native.send("from_netdev", f"R to A {cause}")
    says = native.send("from_container", f"A to R icmp unreachable about R to A {cause}").says
    assert says == "to-network related"


def test_about_a_pods_answer(native: Lab):
    native.policy("A ingress enforced")
    native.send("to_container", "node to A udp 53")
    error = "node to A icmp unreachable about A to node udp 40000 from 53"
    assert native.send("to_container", error).says == "to-endpoint related"


@pytest.mark.parametrize("cause", ["A to R udp 54", "A to W udp 53", "R to A udp 53", "A to R tcp 53"])
def test_about_nothing_known_is_judged_by_policy(native: Lab, cause: str):
    native.send("from_container", "A to R udp 53")
    native.policy("A ingress enforced")
    assert native.send("from_netdev", f"R to A icmp unreachable about {cause}").says == "drop POLICY_DENIED"
    native.policy("A ingress allow R icmp type 3")
    assert native.send("from_netdev", f"R to A icmp unreachable about {cause}").says == "to-endpoint new"


def test_an_error_opens_no_connection(native: Lab):
    native.send("from_netdev", "R to A icmp unreachable about A to R udp 53")
    assert native.entries("cilium_ct_any4_global") == []


@pytest.mark.parametrize("length", range(34, 70))
def test_truncated(native: Lab, length: int):
    frame = bytearray(bytes(packet("A to R icmp unreachable about R to A udp 53"))[:length])
    frame[16:18] = (length - 14).to_bytes(2, "big")
    assert native.send("from_container", bytes(frame)).says == "drop CT_TRUNCATED_OR_INVALID_HEADER"


@pytest.mark.parametrize("first_byte", [0x44, 0x65, 0x4F])
def test_the_packet_inside_is_malformed(native: Lab, first_byte: int):
    frame = bytearray(bytes(packet("A to R icmp unreachable about R to A udp 53")))
    frame[42] = first_byte
    assert native.send("from_container", bytes(frame)).says == "drop CT_TRUNCATED_OR_INVALID_HEADER"
