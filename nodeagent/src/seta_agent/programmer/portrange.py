"""net.ipv4.ip_local_reserved_ports: the kernel gives no connection of the node a port that may become a node port.

Called by the device module at start. What others have reserved stays; a port that a program asks for by its number is
not the kernel's to give, so nothing that names its port is kept from it.
"""

import pathlib

from seta_agent.programmer import sysctls

NAME = "net/ipv4/ip_local_reserved_ports"


def reserve(proc_sys: pathlib.Path, first: int, last: int) -> None:
    """`ProgrammingError` where the kernel or the mount refuses."""
    try:
        reserved = (proc_sys / NAME).read_text(encoding="ascii")
    except OSError:
        reserved = ""
    sysctls.write(proc_sys, NAME, merged(reserved, first, last))


def merged(text: str, first: int, last: int) -> str:
    """Ranges as the kernel writes them, 8080,30000-32767, with one more."""
    ranges = [_range(part) for part in text.strip().split(",") if part] + [(first, last)]
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if joined and begin <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return ",".join(str(begin) if begin == end else f"{begin}-{end}" for begin, end in joined)


def _range(part: str) -> tuple[int, int]:
    begin, _, end = part.partition("-")
    return int(begin), int(end or begin)
