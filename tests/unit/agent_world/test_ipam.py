"""Addresses and ids: which is next."""

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from seta_agent.cni import ipam

CIDR = ipaddress.ip_network("10.0.1.0/29")  # pods: .2 to .6


def ip(last: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(f"10.0.1.{last}")


def test_the_first_address_is_after_the_routers():
    assert ipam.next_address([CIDR], set(), None) == ip(2)


def test_a_released_address_rests_until_the_others_had_their_turn():
    assert ipam.next_address([CIDR], {ip(3)}, ip(3)) == ip(4)


def test_the_ring_begins_again_before_broadcast():
    assert ipam.next_address([CIDR], set(), ip(6)) == ip(2)


def test_a_full_cidr_has_no_address():
    assert ipam.next_address([CIDR], {ip(last) for last in range(2, 7)}, ip(4)) is None


def test_a_second_cidr_is_used_when_the_first_is_full():
    more = ipaddress.ip_network("10.0.9.0/29")
    assert ipam.next_address([CIDR, more], {ip(last) for last in range(2, 7)}, ip(6)) == more[2]


@settings(deadline=None)
@given(st.sets(st.integers(2, 6)), st.integers(0, 7))
def test_an_address_is_free_in_the_cidr_and_found_whenever_there_is_one(used, last):
    found = ipam.next_address([CIDR], {ip(one) for one in used}, ip(last))
    assert (found is None) == (len(used) == ipam.usable([CIDR]))
    assert found is None or (found in CIDR and int(found) & 7 in range(2, 7) and int(found) & 7 not in used)


def test_ids_go_round():
    assert ipam.next_id({1, 2}, 2, highest=4) == 3
    assert ipam.next_id({3, 4}, 4, highest=4) == 1
    assert ipam.next_id({1, 2, 3, 4}, 2, highest=4) is None
