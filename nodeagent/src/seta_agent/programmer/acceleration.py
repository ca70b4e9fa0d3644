"""XDP on the native devices, where the value loadBalancer.acceleration wants it. Called by `nodesetup`.

What XDP does not take goes through the other programs, so a device without it works, and only slower: `native` says
that it must not be so, `best-effort` that it may.
"""

from collections.abc import Iterable

import structlog

from seta_agent.bpf import syscall
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.programmer.hostdevices import Device
from seta_agent.programmer.programs import XDP_PROGRAM, Link, Programs
from seta_agent.settings import Settings

FLAGS = {"native": syscall.XDP_NATIVE, "generic": syscall.XDP_GENERIC}  # mode -> how it is attached
MODES = {"native": "native", "best-effort": "native", "generic": "generic"}  # value -> mode
REFUSALS = {  # reason -> what it means of XDP
    Reason.UNSUPPORTED: "its driver has no XDP",
    Reason.BUSY: "another XDP program is attached",
    Reason.EXISTS: "another XDP program is attached",
    Reason.INVALID: "its driver refuses XDP as it is set up: often because of its MTU",
    Reason.FULL: "its driver refuses XDP as it is set up: often because of its MTU",
}
log = structlog.get_logger()


class Acceleration:
    """Owns what is known of XDP on each device."""

    def __init__(self, settings: Settings, programs: Programs) -> None:
        self._wanted = settings.bpf_lb_acceleration
        self._programs = programs
        self.devices: dict[str, str] = {}  # device -> mode, or why it has none; empty: disabled

    def attach(self, devices: Iterable[Device]) -> list[Link]:
        """The links that are in place. A device that refuses keeps no other from its own; `check` tells."""
        mode = MODES.get(self._wanted)
        if mode is None:
            return []
        links = []
        before, self.devices = self.devices, {}
        for device in devices:
            for other in FLAGS.keys() - {mode}:  # the kernel has one at a time
                self._programs.detach_at_once(_pin(device, other))
            link = Link(_pin(device, mode), XDP_PROGRAM, device.index, device.index, syscall.XDP, FLAGS[mode])
            self.devices[device.name] = self._attach(link, mode)
            if self.devices[device.name] == mode:
                links.append(link)
        if self.devices != before:
            log.info("acceleration", wanted=self._wanted, devices=self.devices)
        return links

    def check(self) -> None:
        """`ProgrammingError` where a device is slower than it may be."""
        refused = [f"{name} ({why})" for name, why in self.devices.items() if why not in FLAGS]
        if refused and self._wanted != "best-effort":
            raise ProgrammingError(
                f"loadBalancer.acceleration={self._wanted} cannot be had on {', '.join(refused)}: "
                "set the Helm value to best-effort or disabled",
                retry=False,
            )

    def _attach(self, link: Link, mode: str) -> str:
        try:
            self._programs.attach(link)
        except BpfError as error:
            if error.reason is Reason.NO_DEVICE:
                raise
            return REFUSALS.get(error.reason, str(error))
        return mode


def _pin(device: Device, mode: str) -> str:
    return f"{device.name}_xdp_{mode}"
