"""Malformed and truncated packets, at every boundary of every header: a drop with a reason, never a pass."""

import pytest
from scapy.layers.l2 import Ether

from tests.datapath.lab import Lab
from tests.datapath.language import packet

ETHERNET, IP_HEADER = 14, 20
L4_HEADER = {"tcp syn 80": 20, "udp 53": 8, "icmp echo 1": 8, "sctp 9": 12}
# program, sender and receiver, identity in the tunnel key
PATHS = [
    ("from_container", "A to B", 0),
    ("from_container", "A to W", 0),
    ("to_container", "node to A", 0),
    ("from_netdev", "W to A", 0),
    ("from_overlay", "R to A", 2001),
]
INVALID, BAD_L4 = "drop INVALID_PACKET", "drop CT_TRUNCATED_OR_INVALID_HEADER"


def frame(sentence: str) -> bytearray:
    return bytearray(bytes(packet(sentence)))


@pytest.mark.parametrize(("program", "ends", "identity"), PATHS)
@pytest.mark.parametrize("kind", L4_HEADER)
def test_cut_anywhere(tunnel: Lab, program: str, ends: str, identity: int, kind: str):
    """The frame is shorter than the IP header says. In an IP header without addresses, what comes from the
    network may be anybody's: that is left to the kernel, which drops it.
    """
    whole = frame(f"{ends} {kind}")
    for length in range(ETHERNET, ETHERNET + IP_HEADER + L4_HEADER[kind]):
        known = program != "from_netdev" or length >= ETHERNET + IP_HEADER
        says = tunnel.send(program, bytes(whole[:length]), identity=identity).says
        assert (length, says) == (length, INVALID if known else "untouched")


@pytest.mark.parametrize(("program", "ends", "identity"), PATHS)
@pytest.mark.parametrize("kind", L4_HEADER)
def test_lengths_agree_but_the_l4_header_has_no_room(tunnel: Lab, program: str, ends: str, identity: int, kind: str):
    whole = frame(f"{ends} {kind}")
    for length in range(L4_HEADER[kind]):
        cut = whole[: ETHERNET + IP_HEADER + length]
        cut[16:18] = (IP_HEADER + length).to_bytes(2, "big")
        padded = bytes(cut).ljust(60, b"\0")  # Ethernet pads; the IP length counts
        for data in (bytes(cut), padded):
            assert (length, tunnel.send(program, data, identity=identity).says) == (length, BAD_L4)


# what is written where in the frame of "A to B <kind>", and what comes of it
DAMAGE = [
    ("tcp syn 80", 14, b"\x55", INVALID),  # version 5
    ("tcp syn 80", 14, b"\x44", INVALID),  # header of 16 bytes
    ("tcp syn 80", 14, b"\x40", INVALID),  # header of 0 bytes
    ("tcp syn 80", 16, b"\x00\x00", INVALID),  # total length 0
    ("tcp syn 80", 16, b"\x00\x13", INVALID),  # less than the header
    ("tcp syn 80", 16, b"\xff\xff", INVALID),  # more than the frame
    ("tcp syn 80", 14, b"\x4f", INVALID),  # header longer than the packet
    ("tcp syn 80", 46, b"\x40", BAD_L4),  # data offset 16
    ("tcp syn 80", 46, b"\x00", BAD_L4),
    ("tcp syn 80", 46, b"\xf0", BAD_L4),  # options beyond the end
    ("udp 53", 38, b"\x00\x07", BAD_L4),  # UDP length below its header
    ("udp 53", 38, b"\x00\x11", BAD_L4),  # beyond the packet
    ("udp 53", 23, b"\x02", "drop UNKNOWN_L4_PROTOCOL"),  # IGMP
    ("udp 53", 23, b"\x2f", "drop UNKNOWN_L4_PROTOCOL"),  # GRE
    ("udp 53", 23, b"\x00", "drop UNKNOWN_L4_PROTOCOL"),
]


@pytest.mark.parametrize(("kind", "offset", "damage", "says"), DAMAGE)
def test_damaged(lab: Lab, kind: str, offset: int, damage: bytes, says: str):
    data = frame(f"A to B {kind}")
    data[offset : offset + len(damage)] = damage
    assert lab.send("from_container", bytes(data)).says == says


def test_ip_options_are_no_fault(lab: Lab):
    data = frame("A to B tcp syn 80")
    data[14] = 0x46
    data[16:18] = (44).to_bytes(2, "big")
    data[34:34] = b"\x01\x01\x01\x00"
    assert lab.send("from_container", bytes(data)).says == "to-endpoint new"


@pytest.mark.parametrize("length", range(14, 54))
def test_truncated_ipv6(lab: Lab, length: int):
    data = bytes(Ether(type=0x86DD)) + b"\x60\0\0\0\0\x08\x3a\xff" + bytes(32)
    assert lab.send("from_container", data[:length]).says == INVALID


def test_every_drop_says_where_it_was_decided(lab: Lab):
    event = lab.send("from_container", bytes(frame("A to B tcp syn 80")[:40])).events[-1]
    files = {number: name for name, number in lab.btf.enum("source_file").items()}
    assert files[int(event["file"])] == "FILE_PARSE_H"
    assert int(event["line"]) > 0


def test_the_nodes_own_malformed_packets_are_left_to_the_kernel(lab: Lab):
    for length in range(ETHERNET, ETHERNET + IP_HEADER + 20):
        assert lab.send("from_netdev", bytes(frame("W to node tcp syn 80")[:length])).says == "untouched"
        assert lab.send("to_netdev", bytes(frame("node to W tcp syn 80")[:length])).says == "untouched"
