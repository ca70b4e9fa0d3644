"""Event records in, the field's lines out; and who listens gets what."""

import asyncio
import ipaddress
import os
import re

import numpy as np
import pytest

from seta_agent import settings
from seta_agent.api.kernel import ENUMS
from seta_agent.bpf.btf import Btf
from seta_agent.monitor import decode, hub, why
from seta_agent.monitor.hub import MonitorHub

BTF = Btf(settings.Settings().objects / "from_container.bpf.o")
NAMES = decode.enums({name: BTF.enum(name) for name in ENUMS})
DROP, TRACE, VERDICT = 1, 4, 9
TCP, UDP, ICMP = 6, 17, 1


def record(**fields):
    """One `struct event`, of a TCP SYN from 10.0.1.5 to 10.0.1.6:80 where nothing else is said."""
    event = np.zeros(1, BTF.dtype("event"))
    values = {
        "saddr": "10.0.1.5",
        "daddr": "10.0.1.6",
        "sport": 4242,
        "dport": 80,
        "proto": TCP,
        "tcp_flags": 0x02,
        "family": 1,
        "src_identity": 4001,
        "dst_identity": 4002,
        "endpoint_id": 12,
        "ifindex": 5,
        "hash": 0x1A2B,
        **fields,
    }
    for side in ("saddr", "daddr"):
        raw = ipaddress.ip_address(values.pop(side)).packed.ljust(16, b"\0")
        offset = event.dtype.fields[side][1]
        event.view(np.uint8)[offset : offset + 16] = np.frombuffer(raw, np.uint8)
    for name, value in values.items():
        event[name] = value
    return event[0]


def line(**fields) -> str:
    return decode.decode(record(**fields), NAMES, why.nobody())["summary"]


POLICIES = {5: ("CiliumNetworkPolicy default/no", "NetworkPolicy default/no"), 6: ("localhost",)}
DEFAULTS = {(12, False): ("CiliumNetworkPolicy default/rule1",), (12, True): ()}
WHY = why.Why(lambda cookie: POLICIES.get(cookie, ()), lambda number, egress: DEFAULTS.get((number, egress)))
INGRESS, EGRESS = 1, 2


@pytest.mark.parametrize(
    ("fields", "sentence", "policies"),
    [
        (
            {"type": DROP, "reason": 133, "direction": INGRESS},
            " (denied by default: no rule allows it, and CiliumNetworkPolicy default/rule1 denies what none allows)",
            ["CiliumNetworkPolicy default/rule1"],
        ),
        (
            {"type": DROP, "reason": 133, "direction": EGRESS},
            " (denied by default: no rule allows it, and policyEnforcementMode always denies what none allows)",
            [],
        ),
        (
            {"type": DROP, "reason": 181, "cookie": 5, "direction": INGRESS},
            " (denied by CiliumNetworkPolicy default/no, NetworkPolicy default/no)",
            list(POLICIES[5]),
        ),
        (
            {"type": DROP, "reason": 133, "direction": EGRESS, "ct_state": 2},
            " (its connection is no longer allowed)",
            [],
        ),
        ({"type": DROP, "reason": 133, "direction": INGRESS, "endpoint_id": 99}, "", []),
        ({"type": VERDICT, "verdict": 1, "cookie": 6}, "", []),
        ({"type": VERDICT, "verdict": 1, "cookie": 5}, "", list(POLICIES[5])),
        ({"type": DROP, "reason": 132}, "", []),
    ],
)
def test_a_drop_names_the_policies_behind_it(fields, sentence, policies):
    event = decode.decode(record(**fields), NAMES, WHY)
    assert event["summary"] == decode.summary(event) + sentence
    assert event["policies"] == policies


def test_a_drop_names_reason_place_identities_and_packet():
    files = {name: number for number, name in NAMES.files.items()}
    assert line(type=DROP, reason=133, file=files["policy.h"], line=77) == (
        "xx drop (Policy denied) flow 0x1a2b to endpoint 12, ifindex 5, file policy.h:77, , "
        "identity 4001->4002: 10.0.1.5:4242 -> 10.0.1.6:80 tcp SYN"
    )


def test_a_denied_verdict_names_endpoint_and_peer():
    assert line(type=VERDICT, direction=1, verdict=2, match=0) == (
        "Policy verdict log: flow 0x1a2b local EP ID 12, remote ID 4001, dst port 80, proto 6, ingress true, "
        "action deny, auth: disabled, match none, 10.0.1.5:4242 -> 10.0.1.6:80 tcp SYN"
    )


def test_an_allowed_verdict_on_egress_names_what_matched():
    shown = line(type=VERDICT, direction=2, verdict=1, match=2)
    assert "remote ID 4002" in shown
    assert "ingress false, action allow, auth: disabled, match L3-L4" in shown


@pytest.mark.parametrize(
    ("point", "begins"),
    [
        (0, "-> endpoint 12 flow 0x1a2b , identity 4001->4002 state new ifindex 5: "),
        (4, "-> overlay "),
        (10, "<- network "),
    ],
)
def test_a_trace_says_where_the_packet_is(point, begins):
    assert line(type=TRACE, observation=point).startswith(begins)


@pytest.mark.parametrize(
    ("fields", "packet"),
    [
        ({"tcp_flags": 0x12}, "10.0.1.5:4242 -> 10.0.1.6:80 tcp SYN, ACK"),
        ({"proto": UDP}, "10.0.1.5:4242 -> 10.0.1.6:80 udp"),
        ({"proto": ICMP, "icmp_type": 8}, "10.0.1.5 -> 10.0.1.6 icmp EchoRequest"),
        ({"proto": ICMP, "icmp_type": 99}, "10.0.1.5 -> 10.0.1.6 icmp type 99"),
        ({"family": 2, "saddr": "fd00::1", "daddr": "fd00::2"}, "[fd00::1]:4242 -> [fd00::2]:80 tcp SYN"),
        ({"proto": 47}, "10.0.1.5 -> 10.0.1.6 47"),
    ],
)
def test_a_packet_is_told_as_its_protocol_has_it(fields, packet):
    assert line(type=DROP, reason=133, **fields).endswith(f": {packet}")


def test_every_drop_reason_is_a_sentence():
    assert NAMES.reasons[169] == "FIB lookup failed"
    assert all(re.fullmatch(r"[A-Z][\w ]+", text) for text in NAMES.reasons.values())


def test_every_file_is_a_file_of_the_datapath():
    known = {path.name for path in (settings.Settings().objects.parents[3] / "bpf").rglob("*.[ch]")}
    assert set(NAMES.files.values()) - known == {"unknown"}


class Ring:
    """Records in a list, and a pipe that becomes readable with them."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe()
        self.records: list = []
        self.is_open = True

    def fill(self, *records) -> None:
        self.records += records
        os.write(self._write, b"x")

    def read(self, most: int = 65536):  # noqa: ARG002
        found, self.records = self.records, []
        return np.array(found, BTF.dtype("event")) if found else np.empty(0, BTF.dtype("event"))

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._write)
        self.is_open = False


@pytest.fixture
def rings(monkeypatch) -> list[Ring]:
    monkeypatch.setattr(hub, "LOSS_SECONDS", 0.0)
    return []


@pytest.fixture
def monitor(rings):
    losses = iter(range(0, 1000, 5))

    def open_ring() -> Ring:
        rings.append(Ring())
        rings[-1].records.append(record(type=DROP))  # from before anybody listened
        return rings[-1]

    return MonitorHub(open_ring, lambda: next(losses), NAMES, why.nobody())


async def test_a_listener_gets_what_happens_from_now_on_and_of_its_type(rings, monitor):
    with monitor.listen(DROP) as drops, monitor.listen(0) as everything:
        rings[0].fill(record(type=TRACE), record(type=DROP, reason=133))
        assert [int(one["type"]) for one in await drops.batch(1.0)] == [DROP]
        assert [int(one["type"]) for one in await everything.batch(1.0)] == [TRACE, DROP]


async def test_the_ring_is_open_only_while_somebody_listens(rings, monitor):
    with monitor.listen(0):
        assert (monitor.listeners, rings[0].is_open) == (1, True)
    assert (monitor.listeners, rings[0].is_open) == (0, False)


async def test_what_the_kernel_lost_is_told(rings, monitor):
    with monitor.listen(0) as listener:
        rings[0].fill(record(type=DROP))
        await listener.batch(1.0)
        assert listener.take_lost() >= 5
        assert listener.take_lost() == 0


async def test_what_a_slow_listener_loses_is_told(rings, monitor):
    with monitor.listen(0) as listener:
        listener.offer(np.repeat(np.array([record(type=DROP)]), hub.BACKLOG + 7))
        assert listener.take_lost() == 7


async def test_without_events_a_batch_is_empty(rings, monitor):
    with monitor.listen(0) as listener:
        assert await listener.batch(0.001) == []
    await asyncio.sleep(0)
