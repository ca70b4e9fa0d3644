"""Says that some device or address of this network namespace changed. A task of `node` and of `l2.links`.

What the kernel's messages say is not read, so that one that is lost or misunderstood costs nothing: both then look at
what is theirs, and do so now and then anyway.
"""

import asyncio
import errno
import socket
from collections.abc import Callable

RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
NOTHING = 1 << 16  # bytes of messages that are thrown away at once


async def run(changed: Callable[[], None]) -> None:
    """Until cancelled; `changed` is called once for a burst, and first for what happened before anybody listened."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as told:
        told.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
        while True:
            changed()
            try:
                await loop.sock_recv(told, NOTHING)
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # more messages than there was room for
                    raise
