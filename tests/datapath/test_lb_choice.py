"""Which backend a connection from outside gets, by the packets that from_netdev sends on.

The service answers directly (DSR), so that no port of the node limits how many connections a test can open.
"""

import collections
import ipaddress
import struct

import pytest

from seta_agent.bpf import syscall
from seta_agent.desired import maglev
from tests.datapath import datapath, language
from tests.datapath.lab import Lab
from tests.datapath.lb_maps import LbMaps, record
from tests.datapath.sandbox import Sandbox

FRONT, PORT, REV_NAT = "203.0.113.80", 80, 7
LOADBALANCER, DSR, AFFINITY, SOURCE_RANGE, DENY = 0x60, 0x8000, 0x10, 0x80, 0x4000
BACKENDS, FLOWS, SIZE = 10, 40_000, 16381
SEED = b"0123456789ab"


class Lbs(Lab):
    """A lab with native routing, and its service maps."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox, "choice", tunnel=0, trace_level=1, maglev_seed=0x66746573)
        self.lb = LbMaps(self.maps)

    def offer(self, count: int = BACKENDS, *, without: int = -1, flags: int = 0, **how: int) -> list[int]:
        """A service with pods of the other node; their numbers. `without`: the place of one that is gone."""
        places = [place for place in range(count) if place != without]
        backends = [(f"10.1.2.{30 + place}", 8080) for place in places]
        return self.lb.service(FRONT, PORT, "tcp", backends, flags=LOADBALANCER | DSR | flags, rev_nat=REV_NAT, **how)

    def table(self, numbers: list[int], *, without: int = -1) -> None:
        """The Maglev table as the agent makes it."""
        places = [place for place in range(BACKENDS) if place != without]
        keys = [(ipaddress.ip_address(f"10.1.2.{30 + place}"), 8080, 6) for place in places]
        words = maglev.table(keys, numbers, SIZE, SEED)
        self.lb.table(REV_NAT, list(struct.unpack(f"={SIZE}I", words)))

    def open(self, flows: int) -> list[int]:
        """The place of the backend that each of so many new connections is sent to."""
        return self.sandbox.run(self._open, flows)

    def _open(self, flows: int) -> list[int]:
        program = self.objects["from_netdev"].program_fd("from_netdev")
        ctx = bytearray(192)
        struct.pack_into("=I", ctx, 40, self.ifindex["eth0"])
        packet = bytearray(bytes(language.packet(f"W to {FRONT} tcp syn {PORT}")))
        found = []
        for flow in range(flows):
            struct.pack_into(
                ">IIH", packet, 26, 0xCB007100 + flow % 50, int(ipaddress.ip_address(FRONT)), 1024 + flow // 2
            )
            found.append(syscall.prog_test_run(program, bytes(packet), bytes(ctx)).data[33] - 30)
        return found

    def asks(self, sentence: str) -> str:
        """Which backend's address a packet gets, or why it gets none."""
        outcome = self.send("from_netdev", sentence)
        return str(outcome.packet["IP"].dst) if outcome.action == "redirect" else outcome.says


@pytest.fixture(scope="module")
def _lab(sandbox: Sandbox) -> Lbs:
    return Lbs(sandbox)


@pytest.fixture
def lab(_lab: Lbs) -> Lbs:
    _lab.reset()
    for name in ("cilium_lb4_affinity", "cilium_lb4_source_range"):
        datapath.empty(_lab.maps[name])
    return _lab


def spread(places: list[int]) -> tuple[float, float]:
    """The smallest and the largest share, of what would be equal."""
    counts = collections.Counter(places)
    equal = len(places) / BACKENDS
    return min(counts[place] for place in range(BACKENDS)) / equal, max(counts.values()) / equal


def test_maglev_is_even_and_few_connections_move(lab: Lbs):
    """The same connections before and after a backend goes, with all that was remembered of them gone."""
    lab.table(lab.offer(maglev=True))
    before = lab.open(FLOWS)
    low, high = spread(before)
    assert 0.95 < low <= high < 1.05
    lab.reset()
    lab.table(lab.offer(without=3, maglev=True), without=3)
    after = lab.open(FLOWS)
    assert 3 not in after
    moved = sum(one != other for one, other in zip(before, after, strict=True)) / FLOWS
    assert 1 / BACKENDS * 0.95 < moved < 2 / BACKENDS


def test_random_is_even(lab: Lbs):
    lab.offer()
    low, high = spread(lab.open(FLOWS))
    assert 0.95 < low <= high < 1.05


def test_a_connection_keeps_its_backend_whatever_the_service_has(lab: Lbs):
    lab.offer(1)
    assert lab.asks(f"W to {FRONT} tcp syn {PORT}") == "10.1.2.30"
    lab.offer(9, without=0)
    assert lab.asks(f"W to {FRONT} tcp ack {PORT}") == "10.1.2.30"
    assert lab.asks(f"W to {FRONT} tcp syn {PORT} from 40001") != "10.1.2.30"


def test_a_client_with_affinity_keeps_its_backend_by_its_address(lab: Lbs):
    lab.offer(flags=AFFINITY, affinity=3600)
    kept = {lab.asks(f"W to {FRONT} tcp syn {PORT} from {port}") for port in range(2000, 2020)}
    assert len(kept) == 1
    client = int.from_bytes(datapath.address("W").to_bytes(4, "big"), "little")  # as it lies in memory
    key = {"client_id": client, "rev_nat_id": REV_NAT}
    assert lab.maps["cilium_lb4_affinity"].lookup(record(lab.maps["cilium_lb4_affinity"].key, key)) is not None


def test_clients_with_affinity_choose_each_for_itself(lab: Lbs):
    lab.offer(flags=AFFINITY, affinity=3600)
    assert len(set(lab.open(50))) > 1


def ranges(lab: Lbs, *networks: str, service: int = REV_NAT) -> None:
    for network in map(ipaddress.IPv4Network, networks):
        key = {"prefixlen": 32 + network.prefixlen, "rev_nat_id": service, "addr": int(network.network_address)}
        lab.lb.put("cilium_lb4_source_range", key, 1)


REFUSED = "drop LB_SENDER_NOT_IN_SOURCE_RANGES"


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        (["203.0.113.0/24"], "10.1.2.30"),
        (["203.0.113.5/32"], "10.1.2.30"),
        (["0.0.0.0/0"], "10.1.2.30"),
        (["198.51.100.0/24", "203.0.113.4/30"], "10.1.2.30"),
        (["203.0.113.6/32"], REFUSED),
        (["198.51.100.0/24"], REFUSED),
        ([], REFUSED),
    ],
)
def test_only_clients_in_the_ranges_get_in(lab: Lbs, networks: list[str], told: str):
    lab.offer(1, flags=SOURCE_RANGE)
    ranges(lab, *networks)
    assert lab.asks(f"W to {FRONT} tcp syn {PORT}") == told


@pytest.mark.parametrize(("networks", "told"), [(["203.0.113.0/24"], REFUSED), (["198.51.100.0/24"], "10.1.2.30")])
def test_or_only_those_out_of_them(lab: Lbs, networks: list[str], told: str):
    lab.offer(1, flags=SOURCE_RANGE | DENY)
    ranges(lab, *networks)
    assert lab.asks(f"W to {FRONT} tcp syn {PORT}") == told


def test_another_services_ranges_do_not_count(lab: Lbs):
    lab.offer(1, flags=SOURCE_RANGE)
    ranges(lab, "203.0.113.0/24", service=REV_NAT + 1)
    assert lab.asks(f"W to {FRONT} tcp syn {PORT}") == REFUSED


def test_a_running_connection_ends_with_its_clients_permission(lab: Lbs):
    lab.offer(1)
    assert lab.asks(f"W to {FRONT} tcp syn {PORT}") == "10.1.2.30"
    lab.offer(1, flags=SOURCE_RANGE)
    assert lab.asks(f"W to {FRONT} tcp ack {PORT}") == REFUSED
