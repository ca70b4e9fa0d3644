"""The native devices as they are now: up or not, and their MAC. Owned by `l2`; its herald and heartbeat read it.

Whenever some device changed, and once a second anyway, they are asked (ioctl: microseconds, no thread). So a change
that the kernel did not tell costs a second at most.
"""

import asyncio
import fcntl
import socket
import struct
from collections.abc import Callable, Iterable, Mapping

import structlog

from seta_agent.desired.l2 import Link
from seta_agent.programmer import devicewatch
from seta_agent.programmer.hostdevices import Device

log = structlog.get_logger()
SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX = 0x8913, 0x8927, 0x8933
IFF_UP, IFF_RUNNING = 0x1, 0x40  # running: operational, so with carrier (and, of a bond, with a live member)
AGAIN_SECONDS = 1.0


class Links:
    """`devices`: those that our programs hang on. `remade` is called where one came back under its old name."""

    def __init__(self, devices: Callable[[], Iterable[Device]], remade: Callable[[], None]) -> None:
        self._devices = devices
        self._remade = remade
        self._known: dict[str, Link] = {}  # name -> as last seen
        self._listener: Callable[[], None] = lambda: None
        self._asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    @property
    def now(self) -> Mapping[str, Link]:
        return self._known

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listener = listener

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(devicewatch.run(self.look))
            while True:
                await asyncio.sleep(AGAIN_SECONDS)
                self.look()

    def close(self) -> None:
        self._asked.close()

    def look(self) -> None:
        """Ask every device; tells the listener, at once, where something is not as it was."""
        hooked = {device.name: device for device in self._devices()}
        found = {name: self._ask(device) for name, device in hooked.items()}
        if found == self._known:
            return
        for name, link in found.items():
            log.info("link_seen", device=name, up=link.up)
        self._known = found
        if any(link.index != hooked[name].index for name, link in found.items()):
            self._remade()
        self._listener()

    def _ask(self, device: Device) -> Link:
        """A device that is gone is down."""
        try:
            (index,) = struct.unpack("i", self._ioctl(SIOCGIFINDEX, device.name)[:4])
            (flags,) = struct.unpack("H", self._ioctl(SIOCGIFFLAGS, device.name)[:2])
            mac = self._ioctl(SIOCGIFHWADDR, device.name)[2:8]
        except OSError:
            return Link(device.name, device.index, bytes(6), up=False)
        up = flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING
        return Link(device.name, index, mac, up=up and index == device.index)

    def _ioctl(self, request: int, name: str) -> bytes:
        answer: bytes = fcntl.ioctl(self._asked, request, struct.pack("16s24x", name.encode()))
        return answer[16:]
