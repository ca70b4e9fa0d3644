"""Contributions of owners in, batches to a map out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.programmer.maps import MapReconciler

U4 = np.dtype("u4")


class FakeMap:
    """A map in memory that remembers its batches."""

    def __init__(self, contents=None, room=1000):
        self.key = self.value = U4
        self.contents = dict(contents or {})
        self.room = room
        self.batches = []

    def dump(self):
        return np.array(list(self.contents), U4), np.array(list(self.contents.values()), U4)

    def update(self, keys, values):
        self.batches.append(("write", keys.tolist()))
        for key, value in zip(keys.tolist(), values.tolist(), strict=True):
            if key not in self.contents and len(self.contents) >= self.room:
                raise BpfError("writing", Reason.FULL)
            self.contents[key] = value

    def delete(self, keys):
        self.batches.append(("delete", keys.tolist()))
        for key in keys.tolist():
            self.contents.pop(key, None)


def raw(entries):
    return {k.to_bytes(4, "little"): v.to_bytes(4, "little") for k, v in entries.items()}


def reconciler(contents=None, room=1000):
    found = MapReconciler(FakeMap(contents, room))
    found.read()
    return found


ENTRIES = st.dictionaries(st.integers(0, 8), st.integers(0, 3), max_size=5)
STEPS = st.lists(st.tuples(st.sampled_from("abcd"), ENTRIES), max_size=40)


@given(ENTRIES, STEPS, st.integers(0, 40))
def test_in_the_end_the_map_holds_what_the_smallest_owners_want(before, steps, pass_after):
    one = reconciler(before)
    wanted = {}
    for number, (owner, entries) in enumerate(steps):
        one.set((owner,), raw(entries))
        wanted[owner] = entries
        if number == pass_after:
            one.apply()
    one.complete()
    one.apply()
    expected = {}
    for owner in sorted(wanted, reverse=True):
        expected |= wanted[owner]
    assert one.map.contents == expected
    assert len(one) == len(expected)
    assert one.apply() == 0


class Counted(str):
    """An owner's name that counts how often names are compared."""

    __slots__ = ()
    compared = 0

    def __lt__(self, other):
        Counted.compared += 1
        return str.__lt__(self, other)


def test_thousands_that_share_an_entry_are_not_compared_with_each_other():
    """Services that share a backend: at every start, in any order, and when they all go."""
    one, count = reconciler(), 3000
    owners = [(Counted(f"{number * 7919 % count:05}"),) for number in range(count)]
    for owner in owners:
        one.set(owner, raw({1: 1}))
    for owner in sorted(owners):
        one.set(owner, {})
    assert one.apply() == 0
    assert Counted.compared < count * 60


def test_what_is_there_already_is_not_written():
    one = reconciler({1: 10, 2: 20})
    one.set(("a",), raw({1: 10, 2: 21}))
    assert one.apply() == 1
    assert one.map.batches == [("write", [2])]


def test_strangers_stay_until_every_source_is_listed():
    one = reconciler({9: 90})
    one.set(("a",), raw({1: 10}))
    one.apply()
    assert one.map.contents == {9: 90, 1: 10}
    one.complete()
    one.apply()
    assert one.map.contents == {1: 10}


def test_what_an_owner_gives_up_goes_at_once():
    one = reconciler()
    one.set(("a",), raw({1: 10}))
    one.apply()
    one.set(("a",), {})
    one.apply()
    assert one.map.contents == {}


def test_entries_are_written_in_the_order_given():
    one = reconciler()
    one.set(("a",), raw({3: 1, 1: 1, 2: 1}))
    one.apply()
    assert one.map.batches == [("write", [3, 1, 2])]


def test_parts_are_written_when_it_is_their_turn():
    one = reconciler()
    one.set(("a",), raw({1: 1, 100: 1}))
    one.write(lambda key: key[0] >= 100)
    one.write()
    assert one.map.batches == [("write", [100]), ("write", [1])]


def test_strangers_changes_are_corrected_when_read_again():
    one = reconciler()
    one.set(("a",), raw({1: 10, 2: 20}))
    one.complete()
    one.apply()
    one.map.contents = {1: 11, 5: 50}
    one.read()
    one.apply()
    assert one.map.contents == {1: 10, 2: 20}


def test_a_full_map_is_read_again_and_the_rest_stays_wanted():
    one = reconciler(room=2)
    one.set(("a",), raw({1: 1, 2: 2, 3: 3}))
    with pytest.raises(BpfError) as caught:
        one.apply()
    assert caught.value.reason is Reason.FULL
    assert one.errors == 1
    one.map.room = 3
    one.apply()
    assert one.map.contents == {1: 1, 2: 2, 3: 3}


def test_ignored_fields_are_not_compared():
    value = np.dtype([("deny", "u4"), ("packets", "u4")])
    fake = FakeMap()
    fake.value = value
    fake.dump = lambda: (np.array([1], U4), np.array([(1, 777)], value))
    one = MapReconciler(fake, ["packets"])
    one.read()
    one.set(("a",), {(1).to_bytes(4, "little"): np.array([(1, 0)], value).tobytes()})
    assert one.apply() == 0
