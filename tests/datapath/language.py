"""Packets as sentences: "A to B tcp syn 80", "W to A icmp unreachable about A to W udp 53 from 4000".

<source> to <destination> <protocol> [words]. Names stand for addresses (WORLD). A number is the destination port;
`from N` the source port (40000 where nothing is said); TCP flags by name; `echo N` and `reply N` for ICMP;
`first fragment N` and `later fragment N` with the datagram's number; `length N`: bytes of payload; `about ...` ends an
ICMP error with its cause. `whole`: may not be fragmented.
"""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

WORLD = {  # name -> address
    "A": "10.1.1.11",
    "B": "10.1.1.12",
    "nobody": "10.1.1.99",
    "router": "10.1.1.1",
    "R": "10.1.2.21",
    "router2": "10.1.2.1",
    "node": "192.168.50.1",
    "node2": "192.168.50.2",
    "W": "203.0.113.5",
    "W2": "203.0.113.6",
    "C": "198.51.100.7",  # of the world, in a prefix that a policy names
    "node3": "192.168.50.3",  # a node with an identity of its own
    "router3": "10.1.3.1",
    "node4": "192.168.50.4",  # a node that runs the API server
    "broadcast": "255.255.255.255",
    "lb": "198.18.0.1",  # where services are for the world
    "cluster": "10.250.0.1",  # a ClusterIP
    "itself": "169.254.42.1",  # as whom a pod sees what it sends to itself by a service
}
FLAGS = {"syn": "S", "ack": "A", "synack": "SA", "fin": "FA", "rst": "R", "psh": "PA"}
ERRORS = {"unreachable": (3, 3), "fragmentation-needed": (3, 4), "expired": (11, 0)}
GATEWAY_MAC, POD_MAC = "02:00:00:00:01:01", "02:00:00:00:02:02"


def address(name: str) -> str:
    """Of a name, or what is one already."""
    return WORLD.get(name, name)


class Words:
    """The words after the protocol, taken one by one."""

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def flag(self, *known: str) -> str | None:
        found = next((word for word in self._words if word in known), None)
        if found:
            self._words.remove(found)
        return found

    def number_after(self, *words: str) -> int | None:
        for i, word in enumerate(self._words):
            if word in words:
                number = int(self._words[i + 1])
                del self._words[i : i + 2]
                return number
        return None

    def number(self, otherwise: int) -> int:
        return int(self._words.pop(0)) if self._words and self._words[0].isdigit() else otherwise

    def port(self) -> tuple[int, int]:
        """`80` or `80/12`: the port and how many of its bits count; (0, 0) without one."""
        text, _, bits = (self._words.pop(0) if self._words and self._words[0][0].isdigit() else "").partition("/")
        return (int(text), int(bits or 16)) if text else (0, 0)

    def finish(self) -> None:
        if self._words:
            raise ValueError(f"nobody knows what {self._words} means in a packet")


def packet(sentence: str) -> Packet:
    """The frame, with Ethernet header."""
    frame = Ether(src=POD_MAC, dst=GATEWAY_MAC) / datagram(sentence)
    return Ether(frame.build())  # with lengths and checksums filled in


def datagram(sentence: str) -> Packet:
    head, _, cause = sentence.partition(" about ")
    source, _, destination, protocol, *rest = head.split()
    words = Words(rest)
    ip = IP(src=address(source), dst=address(destination), id=1)
    ip.flags = "DF" if words.flag("whole") else 0
    first, later = words.flag("first"), words.flag("later")
    if first or later:
        ip.id, ip.flags, ip.frag = words.number_after("fragment"), "MF" if first else 0, 100 if later else 0
    l4 = _l4(protocol, words, cause)
    words.finish()
    if later:
        return _later(ip, l4)
    return ip / l4


def _later(ip: Packet, l4: Packet) -> Packet:
    """The middle of a datagram: no header, only the protocol's number."""
    ip.proto = {TCP: 6, UDP: 17, ICMP: 1, SCTP: 132}[type(l4)]
    return ip / Raw(b"x" * 64)


def _l4(protocol: str, words: Words, cause: str) -> Packet:
    if protocol == "icmp":
        return _icmp(words, cause)
    source = words.number_after("from") or 40000
    if protocol == "tcp":
        flags = FLAGS[words.flag(*FLAGS) or "ack"]
        return TCP(sport=source, dport=words.number(80), flags=flags)
    payload = Raw(b"x" * (words.number_after("length") or 8))
    if protocol == "gre":
        return GRE() / payload
    kind = {"udp": UDP, "sctp": SCTP}[protocol]
    return kind(sport=source, dport=words.number(53)) / payload


def _icmp(words: Words, cause: str) -> Packet:
    if error := words.flag(*ERRORS):
        kind, code = ERRORS[error]
        quoted = bytes(datagram(cause))[:28]
        return ICMP(type=kind, code=code) / Raw(quoted)
    reply = words.number_after("reply")
    if reply is not None:
        return ICMP(type=0, id=reply) / Raw(b"ping")
    for word, kind in (("timestamp", 13), ("timestamp-reply", 14)):
        if words.flag(word):
            return ICMP(type=kind, id=words.number(0))
    return ICMP(type=8, id=words.number_after("echo") or 1) / Raw(b"ping")
