"""Connections that lose their allow are cut, in both directions. Called by `node` after policies or identities changed.

The datapath asks the policy about what goes forward in a connection; answers pass because the connection is known. So
each entry of the conntrack maps has a bit that stops its answers. The datapath sets it with the first forward packet
that is refused; here it is set where none comes by (a server that streams to a silent client), and taken away where the
connection is allowed again. Nothing is deleted: without its entry the answers of a connection would open it anew, from
the other end.

Entries are chosen as arrays; each kind of connection (who, with whom, which port) is then asked about once, of the very
maps that the datapath asks.
"""

import contextlib
import dataclasses
import ipaddress
import time
from collections.abc import Iterable, Mapping

import numpy as np

from seta_agent.bpf import syscall
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.bpf.maps import Array, Map
from seta_agent.desired import policy, ports
from seta_agent.desired.encode import FAMILY, PROTOCOLS, put_bytes
from seta_agent.desired.ipcache import STATIC_BITS
from seta_agent.programmer.kernelmaps import KernelMaps, policy_map_name
from seta_agent.tables import ReservedIdentity

CONNTRACK = ("cilium_ct4_global", "cilium_ct_any4_global")
IPCACHE = "cilium_ipcache_v2"
DENIED = 0x8  # `enum ct_entry_flag` CT_DENIED
TUPLE_IN, TUPLE_SERVICE = 1, 4  # `enum ct_tuple_flag`
EXISTING = 2  # BPF_EXIST: what has expired meanwhile stays away
ECHO_REQUEST = 8  # conntrack does not keep the type that opened an ICMP exchange; it is this one


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """An endpoint whose policy counts: where it is open, or only reports, everything goes."""

    id: int
    ingress: bool  # policy enforced
    egress: bool


Subjects = Mapping[int, Subject]  # IPv4 address as a number -> the endpoint that has it


def sweep(maps: KernelMaps, subjects: Subjects) -> int:
    """Look at every connection of these endpoints: how many were cut or let go on. Blocking; `BpfError`."""
    with contextlib.ExitStack() as opened:
        judge = Judge(maps, opened)
        changed = 0
        for name in CONNTRACK:
            conntrack = maps.open(name)
            opened.callback(conntrack.close)
            for keys, values in conntrack.batches():
                changed += _judge_batch(conntrack, judge, subjects, keys, values)
        return changed


def _judge_batch(conntrack: Map, judge: "Judge", subjects: Subjects, keys: Array, values: Array) -> int:
    """How many of a batch were changed."""
    incoming = keys["flags"] == TUPLE_IN
    own = np.where(incoming, keys["daddr"], keys["saddr"]).astype(np.uint32)
    addresses = np.fromiter(subjects.keys(), np.uint32, len(subjects))
    judged = (keys["flags"] & TUPLE_SERVICE) == 0  # to a frontend: policy is about its backend
    chosen = judged & np.isin(own, addresses) & (values["lifetime"] > int(time.monotonic()))
    peers = np.where(incoming, keys["saddr"], keys["daddr"]).astype(np.uint32)
    changed = 0
    for at in np.flatnonzero(chosen):
        protocol, port = int(keys["nexthdr"][at]), int(keys["dport"][at])
        denied = not judge.allows(subjects[int(own[at])], int(peers[at]), protocol, port, egress=not incoming[at])
        if denied != bool(values["flags"][at] & DENIED):
            changed += _mark(conntrack, keys[at : at + 1].tobytes(), denied=denied)
    return changed


def _mark(conntrack: Map, key: bytes, *, denied: bool) -> bool:
    """Whether the connection was still there. It is read again, so that what was counted meanwhile stays."""
    raw = conntrack.lookup(key)
    if raw is None:
        return False
    entry = np.frombuffer(bytearray(raw), conntrack.value)
    entry["flags"] = entry["flags"] | DENIED if denied else entry["flags"] & ~np.uint32(DENIED)
    try:
        syscall.map_update(conntrack.fd, key, entry.tobytes(), EXISTING)
    except BpfError as error:
        if error.reason is not Reason.NOT_FOUND:
            raise
        return False
    return True


class Judge:
    """What the datapath would say of a connection's next packet forward. Asks each thing once, of maps it opens."""

    def __init__(self, maps: KernelMaps, opened: contextlib.ExitStack) -> None:
        self._maps = maps
        self._opened = opened
        self._policies: dict[int, Map | None] = {}  # endpoint id -> its map
        self._identities: dict[int, int] = {}  # address -> identity
        self._answers: dict[tuple[int, int, int, int, bool], bool] = {}  # endpoint, identity, packet, egress -> allowed
        self._ipcache = self._open(IPCACHE)

    def allows(self, subject: Subject, peer: int, protocol: int, port: int, *, egress: bool) -> bool:
        if not (subject.egress if egress else subject.ingress):
            return True
        identity = self._identity(peer)
        if identity == ReservedIdentity.HOST and not egress:
            return True
        if protocol == PROTOCOLS["ICMP"]:
            port = ECHO_REQUEST << 8
        asked = (subject.id, identity, protocol, port, egress)
        if asked not in self._answers:
            self._answers[asked] = self._ask(*asked)
        return self._answers[asked]

    def _ask(self, endpoint: int, identity: int, protocol: int, port: int, egress: bool) -> bool:  # noqa: FBT001
        opened = self._policy(endpoint)
        if opened is None:
            return False
        key = np.zeros(1, opened.key)
        key["prefixlen"], key["egress"], key["protocol"], key["dport"] = ports.EXACT, egress, protocol, port
        hits = []
        for one in (identity, policy.ANY_IDENTITY):
            key["sec_label"] = one
            raw = opened.lookup(key.tobytes())
            if raw is not None:
                hits.append(np.frombuffer(raw, opened.value)[0])
        return _decides(hits)

    def _identity(self, address: int) -> int:
        if address not in self._identities:
            key = np.zeros(1, self._ipcache.key)
            key["prefixlen"], key["family"] = STATIC_BITS + 32, FAMILY[4]
            put_bytes(key, "ip", ipaddress.IPv4Address(address).packed.ljust(16, b"\0"))
            raw = self._ipcache.lookup(key.tobytes())
            found = np.frombuffer(raw, self._ipcache.value)["sec_identity"][0] if raw else 0
            self._identities[address] = int(found) or ReservedIdentity.WORLD
        return self._identities[address]

    def _policy(self, endpoint: int) -> Map | None:
        """None for an endpoint that has just gone."""
        if endpoint not in self._policies:
            try:
                self._policies[endpoint] = self._open(policy_map_name(endpoint))
            except BpfError as error:
                if error.reason is not Reason.NOT_FOUND:
                    raise
                self._policies[endpoint] = None
        return self._policies[endpoint]

    def _open(self, name: str) -> Map:
        found = self._maps.open(name)
        self._opened.callback(found.close)
        return found


def _decides(hits: Iterable[Array]) -> bool:
    """The higher precedence decides, equals: the deny."""
    ranked = max(hits, key=lambda hit: (int(hit["precedence"]), int(hit["deny"])), default=None)
    return ranked is not None and not ranked["deny"]
