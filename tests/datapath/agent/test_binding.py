"""The eBPF binding on real maps, links and programs."""

import os

import numpy as np
import pytest

from seta_agent.bpf import maps, syscall
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.bpf.libbpf import Object
from seta_agent.bpf.ringbuf import RingBuffer
from tests.datapath.agent.conftest import on_a_node

KEY = np.dtype("u4")
LPM_KEY = np.dtype([("prefixlen", "u4"), ("address", ">u4")])
KINDS = {"hash": (syscall.HASH, 0), "lpm": (syscall.LPM_TRIE, syscall.NO_PREALLOC), "lru": (9, 0), "percpu": (5, 0)}


@pytest.fixture
def make():
    """`make(kind, entries)`: a new map without a name anywhere."""
    made = []

    def new(kind, entries, key=KEY, value=np.dtype("u8")):  # noqa: B008 (immutable)
        number, flags = KINDS[kind]
        fd = syscall.map_create(number, f"ac_{kind}", key.itemsize, value.itemsize, entries, flags=flags)
        made.append(maps.Map(fd, key, value))
        return made[-1]

    yield new
    for one in made:
        one.close()


def numbers(count):
    return np.arange(count, dtype=KEY)


@pytest.mark.parametrize("batch", [3, 64, 16384])
@pytest.mark.parametrize("kind", ["hash", "lru"])
def test_what_is_written_is_read_back_whatever_the_batch(make, monkeypatch, kind, batch):
    monkeypatch.setattr(maps, "BATCH", batch)
    one = make(kind, 5000)
    one.update(numbers(1000), numbers(1000).astype("u8") * 7)
    keys, values = one.dump()
    assert sorted(keys.tolist()) == list(range(1000))
    assert (values == keys.astype("u8") * 7).all()


@pytest.mark.parametrize("batch", [3, 16384])
def test_prefixes_are_read_back(make, monkeypatch, batch):
    monkeypatch.setattr(maps, "BATCH", batch)
    one = make("lpm", 1000, LPM_KEY)
    keys = np.zeros(200, LPM_KEY)
    keys["prefixlen"], keys["address"] = 32, np.arange(200)
    one.update(keys, numbers(200).astype("u8"))
    found, values = one.dump()
    assert dict(zip(found["address"].tolist(), values.tolist(), strict=True)) == {i: i for i in range(200)}


def test_an_empty_map_is_read_as_empty(make):
    keys, values = make("hash", 10).dump()
    assert (len(keys), len(values)) == (0, 0)


def test_values_per_cpu_have_one_more_axis(make):
    one = make("percpu", 10)
    cpus = maps.possible_cpus()
    one.update(numbers(2), np.ones((2, cpus), "u8"))
    _, values = one.dump()
    assert values.shape == (2, cpus)


def test_deleting_what_is_not_there_deletes_the_rest(make):
    one = make("hash", 100)
    one.update(numbers(10), numbers(10).astype("u8"))
    one.delete(np.array([50, 1, 60, 2, 70], KEY))
    assert sorted(one.dump()[0].tolist()) == [0, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("kind", "key"), [("hash", KEY), ("lpm", LPM_KEY)])
def test_a_full_map_says_so(make, kind, key):
    one = make(kind, 4, key)
    keys = np.zeros(10, key)
    if key is LPM_KEY:
        keys["prefixlen"], keys["address"] = 32, np.arange(10)
    else:
        keys[:] = np.arange(10)
    with pytest.raises(BpfError, match=r"the map is full: raise its size \(Helm values bpf\.\*Max\)") as caught:
        one.update(keys, np.zeros(10, "u8"))
    assert caught.value.reason is Reason.FULL


def test_single_entries(make):
    one = make("hash", 10)
    one.set(b"\1\0\0\0", bytes(8))
    assert one.lookup(b"\1\0\0\0") == bytes(8)
    assert one.lookup(b"\2\0\0\0") is None
    assert one.remove(b"\1\0\0\0")
    assert not one.remove(b"\1\0\0\0")


def test_a_dtype_that_does_not_fit_is_refused(make):
    one = make("hash", 10)
    with pytest.raises(BpfError) as caught:
        maps.Map(os.dup(one.fd), np.dtype("u8"), one.value)
    assert caught.value.reason is Reason.MISMATCH


@on_a_node
async def test_events_are_read_in_bulk_and_across_the_rings_end(lab):
    root = lab.settings.bpf_root
    with Object(lab.settings.objects / "from_container.bpf.o", root) as opened:
        opened.set_max_entries("cilium_events", 65536)
        opened.load()
        ring = RingBuffer(opened.map_fd("cilium_events"), 65536, opened.btf.dtype("event"))
        drop = opened.btf.enum("event_type")["EVENT_DROP"]
        program = opened.program_fd("from_container")
        seen = 0
        for _ in range(10):
            syscall.prog_test_run(program, b"\x02" * 12 + b"\x08\x00" + bytes(40), repeat=400)
            events = ring.read()
            assert (events["type"] == drop).all()
            seen += len(events)
        assert seen == 4000
        assert len(ring.read()) == 0
        ring.close()


@on_a_node
async def test_links_are_told_apart_and_replaced(lab):
    root = lab.settings.bpf_root
    with Object(lab.settings.objects / "from_container.bpf.o", root) as opened:
        opened.load()
        program = opened.program_fd("from_container")
        link = syscall.link_create(program, 1, syscall.TCX_INGRESS)
        syscall.link_update(link, program)
        info = syscall.link_info(link)
        assert (info.target, info.attach_type) == (1, syscall.TCX_INGRESS)
        assert syscall.attached(1, syscall.TCX_INGRESS) == [(syscall.program_id(program), info.id)]
        assert syscall.attached(1, syscall.TCX_EGRESS) == []
        os.close(link)
        with pytest.raises(BpfError) as caught:
            syscall.link_create(program, 999, syscall.TCX_INGRESS)
        assert caught.value.reason is Reason.NO_DEVICE
