"""Processes that outlive the command that started them: remembered by id and start time.

A process id alone is not enough to say that a process is still the same one: ids are used again.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    pid: int
    started: int  # clock ticks after boot, field 22 of /proc/PID/stat


def record(pid: int) -> Record | None:
    """What identifies the process that has this id now; None where there is none (a zombie counts as none)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else Record(pid, int(fields[19]))


def alive(remembered: Record | None) -> bool:
    """Whether the remembered process still runs."""
    return remembered is not None and record(remembered.pid) == remembered


def rss_kib(pid: int) -> int:
    """Resident memory of a process in KiB, 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def text(remembered: Record | None) -> str:
    """A record as a line of a file."""
    return f"{remembered.pid} {remembered.started}\n" if remembered else ""


def read(path: Path) -> Record | None:
    """The record in a file; None where there is no such file or none in it yet."""
    try:
        pid, started = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return Record(int(pid), int(started))
