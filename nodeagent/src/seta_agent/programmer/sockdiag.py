"""Connected UDP sockets of a network namespace: listed, and closed for their owners, over NETLINK_SOCK_DIAG.

Called by `stale`, in a thread that is in the namespace. Closing (SOCK_DESTROY) needs CAP_NET_ADMIN there and a kernel
with CONFIG_INET_DIAG_DESTROY; the owner's next call on the socket fails, as if its peer were gone. A socket is named by
its cookie, so that no other one that has its ports meanwhile is closed.
"""

import dataclasses
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from typing import Self

from seta_agent.tables import IPAddress

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
NLMSG_ERROR, NLMSG_DONE = 2, 3
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
ESTABLISHED = 1 << 1  # of UDP: connected
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ASK = struct.Struct("=BBBxI")  # family, protocol, extensions, states; a socket's id follows
ANSWERED = struct.Struct("=BBBB")  # family, state, timer, retransmits; a socket's id follows
ID = struct.Struct("!HH16s16s")  # ports, addresses; then the device and the cookie in the machine's order
ID_SIZE = 48
BUFFER = 1 << 16


class DiagError(Exception):
    """The kernel refuses; the message is a sentence."""


@dataclasses.dataclass(frozen=True, slots=True)
class UdpSocket:
    family: int
    cookie: int  # what BPF calls the socket
    peer: IPAddress  # ::ffff:a.b.c.d is a.b.c.d
    port: int
    id: bytes  # as the kernel named it


class SockDiag:
    """A netlink socket of the calling thread's network namespace. A context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def connected(self) -> Iterator[UdpSocket]:
        """Every connected UDP socket, of both families. `DiagError`."""
        for family in (socket.AF_INET, socket.AF_INET6):
            self._send(SOCK_DIAG_BY_FAMILY, DUMP, family, ESTABLISHED, bytes(ID_SIZE))
            try:
                for content in self._answers():
                    yield _udp_socket(content)
            except FileNotFoundError:
                raise DiagError("this kernel does not list UDP sockets: it has no CONFIG_INET_UDP_DIAG") from None

    def close_for_owner(self, found: UdpSocket) -> bool:
        """Whether it was still there. `DiagError` where the kernel cannot or may not."""
        self._send(SOCK_DESTROY, ACK, found.family, ESTABLISHED, found.id)
        try:
            for _ in self._answers():
                pass
        except FileNotFoundError:
            return False
        return True

    def _send(self, kind: int, flags: int, family: int, states: int, name: bytes) -> None:
        body = ASK.pack(family, socket.IPPROTO_UDP, 0, states) + name
        self._socket.send(HEADER.pack(HEADER.size + len(body), kind, flags | REQUEST, 1, 0) + body)

    def _answers(self) -> Iterator[bytes]:
        """Contents of messages, until the last one. FileNotFoundError where the kernel knows no such socket."""
        while True:
            data = self._socket.recv(BUFFER)
            at = 0
            while at + HEADER.size <= len(data):
                length, kind, *_ = HEADER.unpack_from(data, at)
                content = data[at + HEADER.size : at + length]
                at += length + 3 & ~3
                if kind in {NLMSG_DONE, NLMSG_ERROR}:
                    _check(content)
                    return
                yield content


def _check(content: bytes) -> None:
    number = -struct.unpack_from("=i", content)[0] if len(content) >= 4 else 0
    if number == errno.ENOENT:
        raise FileNotFoundError(number, os.strerror(number))
    if number:
        raise DiagError(f"the kernel does not list or close UDP sockets ({os.strerror(number)})")


def _udp_socket(content: bytes) -> UdpSocket:
    family = ANSWERED.unpack_from(content)[0]
    name = content[ANSWERED.size : ANSWERED.size + ID_SIZE]
    _, port, _, peer = ID.unpack_from(name)
    _, low, high = struct.unpack_from("=3I", name, ID.size)
    return UdpSocket(family, high << 32 | low, _address(family, peer), port, name)


def _address(family: int, raw: bytes) -> IPAddress:
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(raw[:4])
    found = ipaddress.IPv6Address(raw)
    return found.ipv4_mapped or found
