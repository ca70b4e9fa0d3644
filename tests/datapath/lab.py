"""One node's datapath, made of the shipped objects: packets in, verdicts, packets and map effects out.

A lab has pods A and B here, pod R on node2 and the world W (names and addresses: language.WORLD). Every test starts
with empty connection tables and everything allowed; `policy` sentences change that.
"""

import dataclasses
import struct
import time
from typing import Any

import numpy as np
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from seta_agent.bpf import libbpf, syscall
from tests.datapath import datapath, entry, language
from tests.datapath.datapath import (
    AUDIT,
    EGRESS_OPEN,
    HOST,
    HOST_ENDPOINT,
    INGRESS_OPEN,
    OPEN,
    STATE,
    Datapath,
)
from tests.datapath.sandbox import Sandbox

SHORTEST = {b"\x08\x00": 34, b"\x86\xdd": 54}  # EtherType -> bytes below which the kernel refuses a test run
LONGEST = 3000  # bytes above which it may, too; what is longer has to end with zeros
TC = {0: "ok", 2: "drop", 7: "redirect"}
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "sctp": 132, "gre": 47}
IDENTITY = {"A": 1001, "B": 1002, "R": 2001, "host": 1, "world": 2, "remote-node": 6, "any": 0}  # name -> identity
IDENTITY |= {"C": 0x01000001, "node3": 0x02000001, "kube-apiserver": 7}
ENDPOINT = {"A": 11, "B": 12, "node": HOST_ENDPOINT}  # pod of this node, or the node -> endpoint id
PODS = ("A", "B")
OWN = ("node", "router")  # the node's own addresses
POD_MAC = {"A": "02:00:00:00:aa:01", "B": "02:00:00:00:bb:01"}
LXC_MAC = {"A": "02:00:00:00:aa:02", "B": "02:00:00:00:bb:02"}
EVENT_WORDS = (  # field of an event, enum of its values, prefix that the enum's names share
    ("type", "event_type", "EVENT_"),
    ("reason", "drop_reason", "DROP_"),
    ("observation", "observation_point", "OBSERVED_"),
    ("verdict", "event_verdict", "VERDICT_"),
    ("direction", "direction", "DIR_"),
    ("ct_state", "ct_state", "CT_"),
    ("match", "policy_match", "MATCH_"),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a packet. `events`: in order, one dict each, enums as their lowercase names."""

    action: str
    packet: Packet
    mark: int
    events: list[dict[str, Any]]

    @property
    def says(self) -> str:
        """`drop <reason>`, `<where to> <conntrack state>`, or `untouched` where nothing was reported."""
        last = self.events[-1] if self.events else None
        if last is None:
            return "untouched" if self.action == "ok" else f"{self.action} without a report"
        if last["type"] == "drop":
            return f"drop {last['reason']}" if self.action == "drop" else f"a drop that was {self.action}"
        if self.action == "drop":
            return "drop without a reason"
        return f"{last['observation']} {last['ct_state']}"


class Lab(Datapath):
    """`send` runs a program. `config`: fields of node_config that differ."""

    def __init__(self, sandbox: Sandbox, name: str, **config: Any) -> None:
        super().__init__(sandbox, name, **_config() | config)
        for endpoint in ENDPOINT.values():
            self.policy_map(endpoint)
        self._fill()

    def send(
        self,
        program: str,
        sentence: str | bytes,
        device: str = "",
        identity: int = 0,
        mark: int = 0,
        *,
        vlan: int | None = None,
    ) -> Outcome:
        """Run a program on a packet. `device`: where it arrives or leaves (by default where such packets do).
        `identity`: in the tunnel key, for from_overlay. `vlan`: in the frame's tag, if it has one.
        """
        data = sentence if isinstance(sentence, bytes) else bytes(language.packet(sentence))
        device = device or _device(program, sentence)
        return self.sandbox.run(self._send, program, data, self.ifindex[device], identity, mark, vlan=vlan)

    def flood(self, program: str, sentence: str, times: int) -> str:
        """The same packet many times: the last one's action. Nobody reads the events."""
        data, ifindex = bytes(language.packet(sentence)), self.ifindex[_device(program, sentence)]
        ctx = bytearray(192)
        struct.pack_into("=I", ctx, 40, ifindex)
        fd = self.objects[program].program_fd(program)
        run = self.sandbox.run(syscall.prog_test_run, fd, data, bytes(ctx), repeat=times)
        return TC[run.retval]

    def policy(self, sentence: str) -> None:
        """`B ingress allow A tcp 80 precedence 5`; `B ingress enforced` with no entry; `any` is any peer. `tcp 80/12`
        is a range of ports: those that share the first 12 bits with 80. `node ingress ...` is a policy for the node.
        """
        pod, direction, action, *rest = sentence.split()
        self.flags[pod] &= ~(INGRESS_OPEN if direction == "ingress" else EGRESS_OPEN)
        self._write_endpoint(pod)
        if action != "enforced":
            self._write_policy(pod, direction, action, rest)

    def forbid(self) -> None:
        """Every policy is empty; what was enforced stays so."""
        for policy in self.policies.values():
            datapath.empty(policy)

    def audit(self, pod: str) -> None:
        self.flags[pod] |= AUDIT
        self._write_endpoint(pod)

    def reset(self) -> None:
        """Nothing remembered, everything allowed."""
        for name in (*STATE, "cilium_metrics"):
            datapath.empty(self.maps[name])
        self.forbid()
        self.flags = dict.fromkeys(ENDPOINT, OPEN)
        for pod in ENDPOINT:
            self._write_endpoint(pod)
        self.ring.read()

    def entries(self, name: str) -> list[tuple[Any, Any]]:
        """All entries of a map: (key, value), as numpy records."""
        keys, values = self.maps[name].dump()
        return list(zip(keys.astype(self.maps[name].key), values, strict=True))

    def rewrite(self, name: str, key: Any, **fields: Any) -> None:
        """Change fields of an entry."""
        layout = self.maps[name]
        value = np.frombuffer(layout.lookup(key.tobytes()) or b"", layout.value).copy()[0]
        libbpf.write_fields(value, fields)
        layout.set(key.tobytes(), value.tobytes())

    def expire(self, name: str = "cilium_ct4_global") -> None:
        """All connections of a table are older than their lifetime."""
        for key, _ in self.entries(name):
            self.rewrite(name, key, lifetime=int(time.monotonic()) - 1)

    def count(self, reason: int, direction: int) -> int:
        """Packets in cilium_metrics."""
        entries = self.entries("cilium_metrics")
        return sum(int(v["count"].sum()) for k, v in entries if (k["reason"], k["dir"]) == (reason, direction))

    def _fill(self) -> None:
        self.reset()
        for name in OWN:
            self.ipcache(name, 1)
        self.ipcache("198.51.100.0", IDENTITY["C"], prefix=24)
        self.ipcache("node3", IDENTITY["node3"])
        self.ipcache("router3", IDENTITY["node3"], node="node3")
        self.ipcache("node4", IDENTITY["kube-apiserver"])
        self.ipcache("node2", 6)
        self.ipcache("router2", 6, node="node2")
        self.ipcache("10.1.2.0", 3, prefix=24, node="node2")
        self.ipcache("R", IDENTITY["R"], node="node2")
        for pod in PODS:
            self.ipcache(pod, IDENTITY[pod])

    def _write_endpoint(self, pod: str) -> None:
        if pod == "node":
            guarded = self.flags[pod] & OPEN != OPEN
            for name in OWN:
                self.endpoint(name, flags=HOST | self.flags[pod], sec_id=1, lxc_id=HOST_ENDPOINT if guarded else 0)
            return
        macs = {field: datapath.mac(mac[pod]) for field, mac in (("mac", POD_MAC), ("node_mac", LXC_MAC))}
        ids = {"lxc_id": ENDPOINT[pod], "sec_id": IDENTITY[pod], "ifindex": self.ifindex[f"lxc{pod}"]}
        self.endpoint(pod, flags=self.flags[pod], **ids, **macs)

    def _write_policy(self, pod: str, direction: str, action: str, words: list[str]) -> None:
        options = language.Words(words[1:])
        precedence, cookie = options.number_after("precedence") or 0, options.number_after("cookie") or 0
        protocol = PROTOCOLS.get(options.flag(*PROTOCOLS) or "", 0)
        kind, (port, bits) = options.number_after("type"), options.port()
        port, bits = (kind << 8, 8) if kind is not None else (port, bits)
        options.finish()
        key = {"sec_label": IDENTITY[words[0]], "egress": direction == "egress", "protocol": protocol, "dport": port}
        key["prefixlen"] = 40 + (8 if protocol else 0) + bits
        value = {"deny": action == "deny", "precedence": precedence, "cookie": cookie, "prefixlen": key["prefixlen"]}
        datapath.put(self.policies[ENDPOINT[pod]], key, value)

    def _send(self, program: str, data: bytes, ifindex: int, identity: int, mark: int, *, vlan: int | None) -> Outcome:
        self.ring.read()
        fd = self.objects[program].program_fd(program)
        taken = data.ljust(SHORTEST.get(data[12:14], 0), b"\0")[:LONGEST]
        ctx = bytearray(192)
        struct.pack_into("=I", ctx, 8, mark)
        struct.pack_into("=I", ctx, 40, ifindex)  # of struct __sk_buff
        if identity or vlan is not None or len(taken) != len(data):
            with entry.before(fd, identity=identity, vlan=vlan, length=len(data)) as first:
                run = syscall.prog_test_run(first, taken, bytes(ctx), room=len(data) + 512)
        else:
            run = syscall.prog_test_run(fd, data, bytes(ctx))
        (mark,) = struct.unpack_from("=I", run.ctx, 8)
        events = [self._event(record) for record in self.ring.read()]
        return Outcome(TC.get(run.retval, str(run.retval)), Ether(run.data), mark, events)

    def _event(self, record: Any) -> dict[str, Any]:
        found = {name: record[name] for name in record.dtype.names}
        for field, enum, prefix in EVENT_WORDS:
            names = {number: name for name, number in self.btf.enum(enum).items()}
            word = names.get(int(found[field]), str(found[field])).removeprefix(prefix)
            found[field] = word if field == "reason" else word.lower().replace("_", "-")
        return found


def _config() -> dict[str, Any]:
    return {
        "node_ip": {"v4": datapath.address("node")},
        "router_ip": {"v4": datapath.address("router")},
        "trace_level": 2,
        "nat_port_min": 61000,
        "nat_port_max": 61999,
    }


def _device(program: str, sentence: str | bytes) -> str:
    if program.endswith("netdev"):
        return "eth0"
    if program.endswith("overlay"):
        return "seta_vxlan"
    if isinstance(sentence, bytes):
        return "lxcA"
    source, _, destination = sentence.split()[:3]
    pod = source if program == "from_container" else destination
    return f"lxc{pod}" if pod in PODS else "lxcA"
