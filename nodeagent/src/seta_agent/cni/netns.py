"""What a pod's network namespace really is and holds. Called by ADD, CHECK, and at start for what is not on disk."""

import asyncio
import concurrent.futures
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from seta_agent.programmer import config, devices

SIOCGIFADDR = 0x8915


async def interface_address(netns_fd: int, ifname: str) -> ipaddress.IPv4Address | None:
    """The IPv4 address of an interface in that namespace; None where there is none."""
    answer: ipaddress.IPv4Address | None = await asyncio.to_thread(devices.in_netns, netns_fd, _address, ifname)
    return answer


def _address(ifname: str) -> ipaddress.IPv4Address | None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            answer = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack("16sH22x", ifname.encode(), socket.AF_INET))
    except OSError:
        return None
    return ipaddress.IPv4Address(answer[20:24])


async def cookie(netns_fd: int) -> int:
    """What BPF sees as that namespace."""
    found: int = await asyncio.to_thread(devices.in_netns, netns_fd, config.netns_cookie)
    return found


def known(directory: Path, ifname: str) -> Iterator[tuple[ipaddress.IPv4Address, str, int]]:
    """Of each named namespace that has such an interface: its address, the namespace's path and cookie. Blocking."""
    for path in sorted(directory.glob("*")):
        try:
            netns_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            address, number = devices.in_netns(netns_fd, lambda: (_address(ifname), config.netns_cookie()))
        except (OSError, concurrent.futures.BrokenExecutor):  # no namespace, or one that is ending
            continue
        finally:
            os.close(netns_fd)
        if address is not None:
            yield address, str(path), number


def same_namespace(netns_fd: int) -> bool:
    """Whether the descriptor is the agent's own (the host's) network namespace."""
    theirs, own = os.fstat(netns_fd), os.stat("/proc/self/ns/net")  # noqa: PTH116 - a magic link, not a file
    return (theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino)
