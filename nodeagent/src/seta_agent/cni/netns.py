"""What a pod's network namespace really holds. Called by ADD (is it one?) and CHECK."""

import asyncio
import fcntl
import ipaddress
import os
import socket
import struct

from seta_agent.programmer import devices

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


def same_namespace(netns_fd: int) -> bool:
    """Whether the descriptor is the agent's own (the host's) network namespace."""
    theirs, own = os.fstat(netns_fd), os.stat("/proc/self/ns/net")  # noqa: PTH116 - a magic link, not a file
    return (theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino)
