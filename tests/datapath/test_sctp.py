"""SCTP: its checksum, a CRC over the whole packet, is right after any port became another. (That it goes the ways that
TCP and UDP go is in the tests of those ways.)"""

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import IP, IPerror, IPOption_NOP
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from seta_agent.bpf.btf import Btf
from seta_agent.bpf.elf import Elf
from tests.datapath.datapath import OBJECTS
from tests.datapath.lab import Lab
from tests.datapath.language import WORLD, packet
from tests.datapath.nodeport import (
    CLUSTER,
    LOADBALANCER,
    answer,
    crc32c,
    ended_at,
    error_about,
    frame,
    no_services,
    sctp_sound,
    serve,
    sound,
    way,
)
from tests.datapath.sandbox import Sandbox

REFUSED = "drop UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE"
CHECKSUM = slice(42, 46)  # of a frame
LENGTHS = [1, 2, 3, 4, 5, 243, 244, 245, 1399, 1400]  # of the payload


@pytest.fixture
def lab(lab: Lab) -> Iterator[Lab]:
    yield from no_services(lab)


def test_the_reference_is_right():
    assert crc32c(b"123456789") == 0xE3069283


def test_the_table_is_the_polynomials():
    path = OBJECTS / "from_netdev.bpf.o"
    offset, layout = Btf(path).rodata["sctp_powers"]
    table = np.frombuffer(Elf(path).section(".rodata"), layout, 1, offset)[0]
    assert [[hex(power) for power in row] for row in table] == [_row(16**digit) for digit in range(4)]


def _row(step: int) -> list[str]:
    """x^0, and what becomes of it by as many zero bytes again and again."""
    powers = [0x80000000]
    while len(powers) < 16:
        power = powers[-1]
        for _ in range(8 * step):
            power = power >> 1 ^ (0x82F63B78 if power & 1 else 0)
        powers.append(power)
    return [hex(power) for power in powers]


@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_there_and_back(lab: Lab, length: int):
    serve(lab, "node sctp 30080", "A 9")
    seen = lab.send("from_netdev", f"W to node sctp 30080 length {length}")
    assert (ended_at(seen), sound(seen.packet)) == (("to-endpoint new", "W:40000 > A:9"), True)
    back = lab.send("from_container", f"A to W sctp 40000 from 9 length {length}")
    assert (ended_at(back), sound(back.packet)) == (("to-network reply", "node:30080 > W:40000"), True)


@pytest.mark.parametrize("length", [3500, 4095, 4096, 8999, 16000])
def test_long_packets(lab: Lab, length: int):
    """Of jumbo frames, and of what a sender leaves to be cut by its device."""
    serve(lab, "node sctp 30080", "node 9")
    ip = IP(src=WORLD["W"], dst=WORLD["node"]) / SCTP(sport=40000, dport=30080) / Raw(bytes(length))
    seen = lab.send("from_netdev", frame(ip))
    assert (ended_at(seen), len(seen.packet)) == (("to-host new", "W:40000 > node:9"), 46 + length)
    assert sctp_sound(bytes(seen.packet)[14:])


def test_what_a_short_frame_is_filled_up_with_is_not_of_the_packet(lab: Lab):
    serve(lab, "node sctp 30080", "A 9")
    data = bytes(packet("W to node sctp 30080 length 1"))
    seen = bytes(lab.send("from_netdev", data.ljust(60, b"\xff")).packet)
    assert (sctp_sound(seen[14:]), seen[len(data) :]) == (True, b"\xff" * (60 - len(data)))


def test_ip_options_are_not_of_the_packet(lab: Lab):
    serve(lab, "node sctp 30080", "A 9")
    datagram = packet("W to node sctp 30080")
    del datagram[IP].len, datagram[IP].chksum, datagram[IP].ihl
    datagram[IP].options = [IPOption_NOP()] * 4
    assert sctp_sound(bytes(lab.send("from_netdev", bytes(datagram)).packet[IP]))


def test_a_checksum_that_was_left_to_a_device_stays_so(lab: Lab):
    """The sender's kernel writes 0, and who computes it later reads the new ports."""
    serve(lab, "cluster sctp 80", "A 9", flags=CLUSTER)
    data = bytearray(bytes(packet("B to cluster sctp 80")))
    data[CHECKSUM] = bytes(4)
    seen = lab.send("from_container", bytes(data), "lxcB")
    assert (way(seen.packet), bytes(seen.packet)[CHECKSUM]) == ("B:40000 > A:9", bytes(4))


def test_a_wrong_checksum_stays_wrong(lab: Lab):
    serve(lab, "node sctp 30080", "A 9")
    data = bytearray(bytes(packet("W to node sctp 30080 length 100")))
    data[70] ^= 1
    assert not sctp_sound(bytes(lab.send("from_netdev", bytes(data)).packet[IP]))


def test_clients_with_the_same_port(lab: Lab):
    serve(lab, "lb sctp 9", "node2 10", flags=LOADBALANCER)
    clients = ("W", "W2", "C")
    seen = [lab.send("from_netdev", f"{client} to lb sctp 9").packet for client in clients]
    assert (len({one.sport for one in seen}), {way(one).split(":")[0] for one in seen}) == (3, {"node"})
    back = [lab.send("from_netdev", answer(one)).packet for one in seen]
    assert [way(one) for one in back] == [f"lb:9 > {client}:40000" for client in clients]
    assert all(sound(one) for one in (*seen, *back))


def test_ports_that_the_nodes_own_associations_may_have_are_left_to_them(sandbox: Sandbox):
    """Nothing tells which they have; of TCP's and UDP's sockets the kernel can be asked."""
    lab = Lab(sandbox, "sctp-ports", nat_port_min=61000, nat_port_max=61001, nat_wide_min=60999)
    for port in (40001, 40002, 40003):
        lab.send("from_container", f"A to W sctp 9 from {port}")
        says = lab.send("to_netdev", f"A to W sctp 9 from {port}").says
    assert says == "drop NO_MAPPING_FOR_NAT_MASQUERADE"


@pytest.mark.parametrize("backend", ["A 10", "node2 10", "node2 9"])
def test_fragments_whose_ports_would_change_are_refused(lab: Lab, backend: str):
    """The first does not say how long the whole is. With the same port only the client's would change."""
    serve(lab, "lb sctp 9", backend, flags=LOADBALANCER)
    for part in ("first", "later"):
        assert lab.send("from_netdev", f"W to lb sctp 9 {part} fragment 9").says == REFUSED


def test_fragments_whose_ports_stay_go_on(lab: Lab):
    serve(lab, "lb sctp 9", "A 9", flags=LOADBALANCER)
    first = lab.send("from_netdev", "W to lb sctp 9 first fragment 9")
    later = lab.send("from_netdev", "W to lb sctp 9 later fragment 9")
    assert (way(first.packet), later.packet[IP].dst) == ("W:40000 > A:9", WORLD["A"])


def test_a_fragmented_answer_is_refused(lab: Lab):
    serve(lab, "lb sctp 9", "A 10", flags=LOADBALANCER)
    lab.send("from_netdev", "W to lb sctp 9")
    for part in ("first", "later"):
        assert lab.send("from_container", f"A to W sctp 40000 from 10 {part} fragment 9").says == REFUSED


def quoted(told: Packet) -> tuple[str, int, str, int]:
    """The ends of the packet that an error is about."""
    names = {address: name for name, address in WORLD.items()}
    sport, dport = struct.unpack_from(">HH", bytes(told[IPerror].payload))
    return names[told[IPerror].src], sport, names[told[IPerror].dst], dport


def test_an_error_about_the_forward_packet_reaches_the_client(lab: Lab):
    serve(lab, "lb sctp 9", "node2 10", flags=LOADBALANCER)
    seen = lab.send("from_netdev", "W to lb sctp 9").packet
    told = lab.send("from_netdev", error_about(seen, "node3", "node"))
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-network related", "lb > W", True)
    assert quoted(told.packet) == ("W", 40000, "lb", 9)


def test_an_error_about_an_answer_reaches_the_backend(lab: Lab):
    serve(lab, "lb sctp 9", "A 10", flags=LOADBALANCER)
    seen = lab.send("from_netdev", "W to lb sctp 9")
    back = lab.send("from_container", answer(seen.packet), "lxcA").packet
    told = lab.send("from_netdev", error_about(back, "W2", "lb"))
    assert (told.says, way(told.packet), sound(told.packet)) == ("to-endpoint related", "W2 > A", True)
    assert quoted(told.packet) == ("A", 10, "W", 40000)


def test_an_error_about_a_masqueraded_packet_finds_the_pod(lab: Lab):
    lab.send("from_container", "A to W sctp 9")
    sent = lab.send("to_netdev", "A to W sctp 9").packet
    told = lab.send("from_netdev", error_about(sent, "W2", "node"))
    assert (told.says, told.packet[IP].dst, sound(told.packet)) == ("to-endpoint related", WORLD["A"], True)
    assert quoted(told.packet) == ("A", 40000, "W", 9)
