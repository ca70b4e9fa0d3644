"""Policies in the kernel's maps, and packets that ask about them: what the property-based test is made of.

A's egress is asked by from_container, with packets to the peers; its ingress by to_container, with packets from them.
Peers are addresses that the IP cache gives their identities.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from tests.datapath import datapath
from tests.datapath.lab import ENDPOINT, Lab
from tests.datapath.policy import packets

SUBJECT = "A"
PEERS = {  # identity -> address: one of every sort
    2: "203.0.113.5",
    3: "10.1.3.3",
    5: "10.1.3.5",
    6: "192.168.50.2",
    7: "10.1.3.7",
    256: "10.1.3.10",
    257: "10.1.3.11",
    65535: "10.1.3.12",
    0x01000001: "198.51.100.1",
    0x01000002: "198.51.100.2",
    0x02000001: "10.1.3.20",
}


@dataclasses.dataclass(frozen=True)
class Question:
    """The first packet of a connection with a peer. port: of the destination, or the ICMP type."""

    peer: int
    egress: bool
    protocol: int
    port: int


@dataclasses.dataclass(frozen=True)
class Answer:
    """cookie: of the entry that decided; 0 where none did."""

    passes: bool
    cookie: int


def know_peers(lab: Lab) -> None:
    for identity, address in PEERS.items():
        lab.ipcache(address, identity)


def enforce(lab: Lab, keys: Iterable[bytes], values: Iterable[bytes]) -> None:
    """A's policy is this, in both directions, and nothing else."""
    table = lab.policies[ENDPOINT[SUBJECT]]
    datapath.empty(table)
    lab.policy(f"{SUBJECT} ingress enforced")
    lab.policy(f"{SUBJECT} egress enforced")
    rows = list(zip(keys, values, strict=True))
    if rows:
        raw_keys, raw_values = (b"".join(column) for column in zip(*rows, strict=True))
        table.update(np.frombuffer(raw_keys, table.key), np.frombuffer(raw_values, table.value))


def ask(lab: Lab, question: Question) -> Answer:
    """What the program does, as its verdict event tells it; the packet's fate must agree with the event."""
    peer = PEERS[question.peer]
    ends = (SUBJECT, peer) if question.egress else (peer, SUBJECT)
    packet = packets.first(*ends, question.protocol, question.port)
    outcome = lab.send("from_container" if question.egress else "to_container", packet, f"lxc{SUBJECT}")
    verdict = outcome.events[0]
    assert verdict["type"] == "policy-verdict", (question, outcome.says)
    passes = verdict["verdict"] == "forwarded"
    assert passes == (outcome.action != "drop"), (question, outcome.says)
    assert verdict["direction"] == ("egress" if question.egress else "ingress")
    return Answer(passes, int(verdict["cookie"]))
