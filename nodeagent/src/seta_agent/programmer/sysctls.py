"""Kernel parameters of the node's network. Called by the device modules.

A container's own /proc/sys is read-only, so the chart mounts the host's /proc/sys/net below /host/proc/sys, and the
root comes from the settings. Writing needs CAP_NET_ADMIN in the network namespace's owner.
"""

import pathlib

from seta_agent.programmer.errors import ProgrammingError


def write(root: pathlib.Path, name: str, value: str) -> None:
    """Set net/ipv4/... to a value, unless it has it. `ProgrammingError` where the kernel or the mount refuses."""
    file = root / name
    try:
        if file.read_text(encoding="ascii").strip() != value:
            file.write_text(value, encoding="ascii")
    except FileNotFoundError:
        raise ProgrammingError(f"this kernel has no sysctl {name.replace('/', '.')}", retry=False) from None
    except OSError as error:
        raise ProgrammingError(
            f"sysctl {name.replace('/', '.')} cannot be set to {value} ({error.strerror}): mount the host's "
            f"/proc/sys/net at /host/proc/sys/net in the agent's container, as the chart does",
        ) from None


def write_if_there(root: pathlib.Path, name: str, value: str) -> None:
    """The same for what not every kernel has (IPv6 may be off)."""
    if (root / name).exists():
        write(root, name, value)
