"""Which backend a socket gets: on chance, by Maglev table, and for datagrams by socket."""

import collections
from collections.abc import Iterator

import pytest

from tests.datapath.sandbox import Sandbox
from tests.datapath.sock_lab import SockLab

VIP = "10.96.0.30"
SIZE, BACKENDS = 16381, 10


@pytest.fixture(scope="module")
def lab(sandbox: Sandbox) -> Iterator[SockLab]:
    lab = SockLab(sandbox, "socket-choice")
    yield lab
    lab.close()


def shares(lab: SockLab, port: int) -> collections.Counter[int]:
    """How many of 4000 sockets went where: port of the backend -> sockets."""
    ways = lab.maps["cilium_lb4_reverse_sk"]
    ways.delete(ways.dump()[0])
    lab.ask("udp-spread", VIP, port)
    keys, values = ways.dump()
    return collections.Counter(int(k["port"]) for k, v in zip(keys, values, strict=True) if int(v["port"]) == port)


def test_backends_have_equal_shares(lab: SockLab):
    lab.lb.service(VIP, 80, "udp", [("127.0.0.1", 1000 + n) for n in range(BACKENDS)])
    found = shares(lab, 80)
    assert found.total() == 4000
    assert all(300 < found[1000 + n] < 500 for n in range(BACKENDS))  # five standard deviations


def test_all_datagrams_of_a_socket_go_to_one_backend(lab: SockLab):
    names = ["one", "two", "three", "four"]
    lab.lb.service(VIP, 81, "udp", [("127.0.0.1", lab.serve(name, "udp")) for name in names])
    assert [len(set(lab.ask("udp-many", VIP, 81)["says"])) for _ in range(3)] == [1, 1, 1]


def test_each_connection_chooses_for_itself(lab: SockLab):
    names = ["one", "two"]
    lab.lb.service(VIP, 82, "tcp", [("127.0.0.1", lab.serve(name, "tcp")) for name in names])
    assert set(lab.ask("tcp-many", VIP, 82)["says"]) == set(names)  # not so once in 2^29 runs


def test_a_socket_whose_backend_is_gone_is_given_another(lab: SockLab):
    """Its datagrams are translated one by one, so the next one goes where somebody is."""

    new = lab.serve("new", "udp")

    def replace() -> None:
        lab.lb.service(VIP, 83, "udp", [("127.0.0.1", new)])

    lab.lb.service(VIP, 83, "udp", [("127.0.0.1", lab.serve("old", "udp", first=replace))])
    assert lab.ask("udp-many", VIP, 83)["says"] == ["old", *["new"] * 29]


def test_the_table_decides_where_there_is_one(lab: SockLab):
    """The slots would send a third to each; the table has one backend in nine places of ten."""
    ports = [2000, 2001, 2002]
    numbers = lab.lb.service(VIP, 84, "udp", [("127.0.0.1", port) for port in ports], rev_nat=84, maglev=True)
    lab.lb.table(84, [numbers[0] if place % 10 else numbers[1] for place in range(SIZE)])
    found = shares(lab, 84)
    assert found[2002] == 0
    assert 3500 < found[2000] < 3700


def test_until_the_table_is_there_chance_decides(lab: SockLab):
    lab.lb.service(VIP, 85, "udp", [("127.0.0.1", 2100), ("127.0.0.1", 2101)], rev_nat=85, maglev=True)
    assert set(shares(lab, 85)) == {2100, 2101}


def test_what_the_table_names_may_be_gone(lab: SockLab):
    numbers = lab.lb.service(VIP, 86, "udp", [("127.0.0.1", 2200), ("127.0.0.1", 2201)], rev_nat=86, maglev=True)
    lab.lb.table(86, [numbers[place % 2] for place in range(SIZE)])
    lab.lb.remove("cilium_lb4_backends_v3", numbers[0])
    assert 3000 < shares(lab, 86)[2201] <= 4000  # four looks, each by chance half of the time
