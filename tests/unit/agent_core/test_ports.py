"""Port ranges as the fewest prefixes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seta_agent.desired import ports
from seta_agent.tables import PortMatch

PORT = st.integers(0, 65535)


def covered(prefixes):
    return [port for start, bits in prefixes for port in range(start, start + (1 << 16 - bits))]


@given(PORT, PORT)
def test_a_range_is_covered_exactly_and_without_overlap(one, other):
    first, last = sorted((one, other))
    assert covered(ports.split_range(first, last)) == list(range(first, last + 1))


@given(PORT, PORT)
def test_no_two_neighbours_could_be_one_prefix(one, other):
    first, last = sorted((one, other))
    found = ports.split_range(first, last)
    for (start, bits), (following, next_bits) in itertools.pairwise(found):
        size = 1 << 16 - bits
        assert bits != next_bits or start % (2 * size) or following != start + size


@pytest.mark.parametrize(
    ("first", "last", "prefixes"),
    [
        (80, 80, [(80, 16)]),
        (0, 65535, [(0, 0)]),
        (8080, 8083, [(8080, 14)]),
        (1, 4, [(1, 16), (2, 15), (4, 16)]),
        (65535, 65535, [(65535, 16)]),
    ],
)
def test_examples(first, last, prefixes):
    assert ports.split_range(first, last) == prefixes


@pytest.mark.parametrize(
    ("port", "found"),
    [
        (PortMatch("TCP", 80), [(6, 80, 64)]),
        (PortMatch("TCP"), [(6, 0, 48)]),
        (PortMatch("ANY"), [(0, 0, 40)]),
        (PortMatch("ANY", 53), [(6, 53, 64), (17, 53, 64), (132, 53, 64)]),
        (PortMatch("ICMP", 8), [(1, 8 << 8, 56)]),
        (PortMatch("UDP", 8080, 8083), [(17, 8080, 62)]),
        (PortMatch("TCP", name="http"), [(6, 8080, 64)]),
        (PortMatch("ANY", name="http"), [(6, 8080, 64)]),
        (PortMatch("TCP", name="unheard-of"), []),
    ],
)
def test_a_port_of_a_policy_becomes_prefixes(port, found):
    assert ports.matches(port, {("http", "TCP"): (8080,)}) == found


@given(st.sampled_from([6, 17]), PORT, st.integers(48, 64))
def test_what_is_wider_covers(protocol, port, length):
    start = port & -(1 << 64 - length) & 0xFFFF
    for wide_protocol, wide_port, wide_length in ports.wider((protocol, start, length)):
        assert wide_length < length
        assert wide_protocol in {protocol, 0}
        if wide_length > 48:
            assert start >> 64 - wide_length == wide_port >> 64 - wide_length
