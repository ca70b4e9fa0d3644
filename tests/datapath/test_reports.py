"""What is said about packets: trace events by level, metrics by outcome, drops with everything a reader needs."""

import pytest

from tests.datapath.lab import Lab
from tests.datapath.sandbox import Sandbox

STORY = ["A to B tcp syn 80", "A to B tcp ack 80", "A to B tcp psh 80", "A to B tcp fin 80"]


@pytest.fixture(scope="module")
def quiet(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "quiet", trace_level=0)


@pytest.fixture(scope="module")
def medium(sandbox: Sandbox) -> Lab:
    return Lab(sandbox, "medium", trace_level=1)


@pytest.mark.parametrize(("level", "traced"), [("quiet", 0), ("medium", 2), ("native", 4)])
def test_levels(request: pytest.FixtureRequest, level: str, traced: int):
    lab = request.getfixturevalue(level)
    lab.reset()
    assert sum(len(lab.send("from_container", sentence).events) for sentence in STORY) == traced


def test_drops_are_reported_at_every_level(quiet: Lab):
    assert quiet.send("from_container", "nobody to B tcp syn 80").says == "drop INVALID_SOURCE_IP"


def test_a_drop_tells_all_that_is_known(native: Lab):
    native.policy("B ingress deny A cookie 77")
    event = native.send("from_container", "A to B tcp syn 80 from 40001").events[-1]
    known = {
        name: int(event[name]) for name in ("src_identity", "dst_identity", "endpoint_id", "proto", "sport", "dport")
    }
    assert known == {
        "src_identity": 1001,
        "dst_identity": 1002,
        "endpoint_id": 12,
        "proto": 6,
        "sport": 40001,
        "dport": 80,
    }
    assert (int(event["tcp_flags"]), int(event["cookie"]), int(event["length"])) == (2, 77, 54)
    assert (int(event["saddr"]["v4"]), int(event["daddr"]["v4"])) == (0x0A01010B, 0x0A01010C)
    assert (event["direction"], int(event["ifindex"])) == ("ingress", native.ifindex["lxcA"])
    assert int(event["timestamp"]) > 0


def test_icmp_events_have_type_and_code(native: Lab):
    native.policy("A ingress enforced")
    event = native.send("from_netdev", "W to A icmp fragmentation-needed about A to W udp 53").events[-1]
    assert (int(event["icmp_type"]), int(event["icmp_code"])) == (3, 4)


def test_every_packet_is_counted_once(native: Lab):
    native.policy("B ingress enforced")
    for sentence in ("A to B tcp syn 80", "A to W tcp syn 80", "A to node udp 1", "nobody to A udp 1"):
        native.send("from_container", sentence)
    reasons = native.btf.enum("drop_reason")
    assert native.count(0, 2) == 2
    assert native.count(reasons["DROP_POLICY_DENIED"], 1) == 1
    assert native.count(reasons["DROP_INVALID_SOURCE_IP"], 2) == 1


def test_a_full_ring_is_counted_and_stops_nothing(native: Lab):
    size = native.objects["from_container"].btf.dtype("event").itemsize
    room = (1 << 20) // size
    assert native.flood("from_container", "A to B tcp ack 80", times=room + 100) == "redirect"
    assert native.count(native.btf.enum("metric_reason")["REASON_EVENT_LOST"], 1) > 0
