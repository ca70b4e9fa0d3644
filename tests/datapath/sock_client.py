"""What an application does, as one command in the tested cgroup: prints what it saw as JSON.

    sock_client.py tcp|udp-connected|udp ADDRESS PORT   asks once
    sock_client.py tcp-many|udp-many ADDRESS PORT       asks thirty times: in connections, from one socket
    sock_client.py udp-spread ADDRESS PORT              sends one datagram from each of 4000 sockets
    sock_client.py tcp-bind|udp-bind ADDRESS PORT       asks for a port

An IPv6 address makes a dual-stack socket, so ::ffff:a.b.c.d is what Java and others do for IPv4.
"""

import contextlib
import json
import socket
import sys

MANY, SOCKETS = 30, 4000


def tcp(family: int, server: tuple[str, int]) -> dict[str, object]:
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.connect(server)
        return {"says": s.recv(64).decode(), "peer": s.getpeername()[:2]}


def udp_connected(family: int, server: tuple[str, int]) -> dict[str, object]:
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.connect(server)
        s.send(b"?")
        return {"says": s.recv(64).decode(), "peer": s.getpeername()[:2]}


def udp(family: int, server: tuple[str, int]) -> dict[str, object]:
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.sendto(b"?", server)
        said, sender = s.recvfrom(64)
        return {"says": said.decode(), "peer": sender[:2]}


def tcp_many(family: int, server: tuple[str, int]) -> dict[str, object]:
    return {"says": [tcp(family, server)["says"] for _ in range(MANY)]}


def udp_many(family: int, server: tuple[str, int]) -> dict[str, object]:
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        said = []
        for _ in range(MANY):
            s.sendto(b"?", server)
            said.append(s.recv(64).decode())
        return {"says": said}


def udp_spread(family: int, server: tuple[str, int]) -> dict[str, object]:
    for _ in range(SOCKETS):
        with socket.socket(family, socket.SOCK_DGRAM) as s, contextlib.suppress(ConnectionRefusedError):
            s.sendto(b"?", server)
    return {}


def tcp_bind(family: int, own: tuple[str, int]) -> dict[str, object]:
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.bind(own)
        return {"own": s.getsockname()[:2]}


def udp_bind(family: int, own: tuple[str, int]) -> dict[str, object]:
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.bind(own)
        return {"own": s.getsockname()[:2]}


WAYS = {
    "tcp": tcp,
    "udp-connected": udp_connected,
    "udp": udp,
    "tcp-many": tcp_many,
    "udp-many": udp_many,
    "udp-spread": udp_spread,
    "tcp-bind": tcp_bind,
    "udp-bind": udp_bind,
}


def main() -> None:
    how, address, port = sys.argv[1:]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        seen = WAYS[how](family, (address, int(port)))
    except OSError as error:
        seen = {"error": type(error).__name__}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
