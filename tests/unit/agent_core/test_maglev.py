"""Maglev tables: equal shares, few moves, and the same on every node."""

import ipaddress
import random

import numpy as np
import pytest

from seta_agent.desired import maglev

SEED = bytes(range(12))


def backends(count):
    return [(ipaddress.ip_address(f"10.{n // 250}.1.{n % 250}"), 8080, 6) for n in range(count)]


def table(of, size=16381, seed=SEED):
    """The backend's last two bytes at each place, so that tables of other sets compare."""
    names = [int(address) & 0xFFFFFF for address, _, _ in of]
    return np.frombuffer(maglev.table(of, names, size, seed), np.uint32)


@pytest.mark.parametrize("size", [251, 1021, 16381, 131071])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 20, 100])
def test_every_backend_has_its_share_to_one_entry(size, count):
    shares = np.unique(table(backends(count), size), return_counts=True)[1]
    assert len(shares) == count
    assert shares.max() - shares.min() <= 1


@pytest.mark.parametrize("count", [2, 3, 5, 10, 50, 100])
def test_few_entries_move_when_a_backend_goes_or_comes(count):
    of = backends(count)
    before = table(of)
    for gone in (0, count // 2, count - 1):
        after = table(of[:gone] + of[gone + 1 :])
        assert (before != after).mean() <= 2 / count


def test_the_order_of_backends_does_not_matter():
    of = backends(20)
    shuffled = random.Random(7).sample(of, len(of))
    assert (table(of) == table(shuffled)).all()


def test_another_seed_is_another_table():
    of = backends(5)
    assert (table(of) != table(of, seed=bytes(12))).mean() > 0.5


def test_ports_and_protocols_are_different_backends():
    address = ipaddress.ip_address("10.0.1.5")
    of = [(address, 80, 6), (address, 81, 6), (address, 80, 17)]
    found = np.frombuffer(maglev.table(of, [1, 2, 3], 251, SEED), np.uint32)
    assert np.unique(found, return_counts=True)[1].min() >= 83


def test_backends_whose_hashes_collide_share_all_the_same(monkeypatch):
    monkeypatch.setattr(maglev, "_hash", lambda _backend, _seed: maglev.HIGHEST)
    shares = np.unique(table(backends(3), 251), return_counts=True)[1]
    assert sorted(shares) == [83, 84, 84]


def test_memory_is_bounded_by_looking_at_some_at_a_time(monkeypatch):
    of = backends(7)
    whole = table(of, 1021)
    monkeypatch.setattr(maglev, "CELLS", 50)
    assert (table(of, 1021) == whole).all()
