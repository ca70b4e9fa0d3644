"""The kernel as the CNI commands see it: the programmer and the pod's devices, errors as CNI errors.

Made by the agent. Netlink is blocking, so device work is done in a thread; the event loop goes on with other pods.
"""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import TypeVar

from seta_agent.cni.errors import CniError, Code
from seta_agent.programmer import devices
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.programmer.node import NodeProgrammer
from seta_agent.settings import Settings

Result = TypeVar("Result")


class KernelDatapath:
    """What `seta_agent.cni.commands.Datapath` asks for."""

    def __init__(self, settings: Settings, programmer: NodeProgrammer) -> None:
        self._settings = settings
        self._programmer = programmer

    @property
    def synced(self) -> bool:
        return self._programmer.synced

    async def create_veth(
        self, netns_fd: int, container_id: str, ipv4: ipaddress.IPv4Address, router: ipaddress.IPv4Address
    ) -> tuple[str, int, str, str]:
        mtu = self._programmer.pod_mtu
        return await _in_thread(
            lambda: devices.create_pod_veth(netns_fd, container_id, ipv4, router, mtu, settings=self._settings)
        )

    async def delete_veth(self, ifname: str) -> None:
        await _in_thread(lambda: devices.delete_pod_veth(ifname))

    async def endpoint_programmed(self, endpoint_id: int, timeout: float) -> None:  # noqa: ASYNC109 - the door's shape
        try:
            await self._programmer.endpoint_programmed(endpoint_id, timeout)
        except ProgrammingError as error:
            raise _cni_error(error) from error

    async def endpoint_removed(self, endpoint_id: int, timeout: float) -> None:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout):
                await self._programmer.endpoint_removed(endpoint_id)
        except TimeoutError:
            message = f"endpoint {endpoint_id} is not out of the kernel after {timeout:.0f} s; see `seta status`"
            raise CniError(Code.TRY_AGAIN, message) from None


async def _in_thread(work: Callable[[], Result]) -> Result:
    try:
        return await asyncio.to_thread(work)
    except ProgrammingError as error:
        raise _cni_error(error) from error


def _cni_error(error: ProgrammingError) -> CniError:
    return CniError(Code.TRY_AGAIN if error.retry else Code.IO_FAILURE, str(error))
