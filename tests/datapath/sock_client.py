"""What an application does, as one command in the tested cgroup: prints what it saw as JSON.

    sock_client.py tcp|udp-connected|udp ADDRESS PORT

An IPv6 address makes a dual-stack socket, so ::ffff:a.b.c.d is what Java and others do for IPv4.
"""

import json
import socket
import sys


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


def main() -> None:
    how, address, port = sys.argv[1:]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        seen = {"tcp": tcp, "udp-connected": udp_connected, "udp": udp}[how](family, (address, int(port)))
    except OSError as error:
        seen = {"error": type(error).__name__}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
