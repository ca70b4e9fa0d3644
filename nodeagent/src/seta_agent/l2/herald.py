"""Tells the network that this node has an address now: at once, and twice more in case that was lost.

Called by `l2.holder` with what is new in the responder's maps, after it is there. Frames leave through a program of
ours (bpf/l2_send.bpf.c) that the kernel runs on them, so that no packet socket is needed. For IPv6 addresses the node
also joins the groups in which neighbours ask for them: a network card passes nothing else on.
"""

import asyncio
import contextlib
import pathlib
import socket
import struct
from collections.abc import Callable, Collection, Mapping

import structlog

from seta_agent.bpf import syscall
from seta_agent.bpf.errors import BpfError
from seta_agent.bpf.libbpf import Object
from seta_agent.desired.l2 import Answer, Link
from seta_agent.l2 import frames

log = structlog.get_logger()
PAUSES = (0.0, 0.3, 1.0)  # seconds before each time
AT_ONCE = 64  # addresses between two looks at everything else
CONTEXT, IFINDEX = 192, 40  # bytes of a struct __sk_buff, and where the device stands in it


class Herald:
    """`held`: what is answered for now. Who lost an address meanwhile must not claim it."""

    def __init__(self, objects: pathlib.Path, held: Callable[[], Collection[Answer]]) -> None:
        self._program = Object(objects / "l2_send.bpf.o")
        self._program.load()
        self._held = held
        self._groups: set[tuple[bytes, int]] = set()  # (group, ifindex) that were joined
        self._member: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._program.close()
        if self._member:
            self._member.close()

    def announce(self, fresh: Collection[Answer], links: Mapping[str, Link]) -> None:
        """Begins with the next turn of the event loop; the answers are in the kernel already."""
        task = asyncio.create_task(self._repeat(sorted(fresh), {link.index: link.mac for link in links.values()}))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def listen(self, wanted: Collection[Answer]) -> None:
        """Be in the groups of exactly these addresses. A node without IPv6 cannot, and need not."""
        groups = {(frames.solicited_node(a.packed), a.ifindex) for a in wanted if a.version == 6}
        if groups and self._member is None:
            with contextlib.suppress(OSError):
                self._member = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        for option, changed in (
            (socket.IPV6_LEAVE_GROUP, self._groups - groups),
            (socket.IPV6_JOIN_GROUP, groups - self._groups),
        ):
            for group, ifindex in changed:
                self._set(option, group, ifindex)
        self._groups = groups

    def _set(self, option: int, group: bytes, ifindex: int) -> None:
        if self._member is None:
            return
        try:
            self._member.setsockopt(socket.IPPROTO_IPV6, option, group + struct.pack("=I", ifindex))
        except OSError as error:  # left already: the device is gone
            if option == socket.IPV6_JOIN_GROUP:
                log.warning("l2_group_not_joined", group=group.hex(), ifindex=ifindex, error=str(error))

    async def _repeat(self, fresh: list[Answer], macs: Mapping[int, bytes]) -> None:
        for pause in PAUSES:
            await asyncio.sleep(pause)
            for first in range(0, len(fresh), AT_ONCE):
                held = self._held()
                for answer in fresh[first : first + AT_ONCE]:
                    if answer in held:
                        self._send(answer, macs[answer.ifindex])
                await asyncio.sleep(0)

    def _send(self, answer: Answer, mac: bytes) -> None:
        context = bytearray(CONTEXT)
        struct.pack_into("=I", context, IFINDEX, answer.ifindex)
        for frame in frames.announcements(answer.packed, mac):
            try:
                syscall.prog_test_run(self._program.program_fd("l2_send"), frame, bytes(context))
            except BpfError as error:  # the device went away: nobody there to be told
                log.info("l2_not_announced", ifindex=answer.ifindex, error=str(error))
