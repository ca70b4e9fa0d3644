"""Cgroups of a cluster: `playground-CLUSTER/PLACE` in every hierarchy that the machine has.

They are what nothing escapes: whatever a cluster started, and whatever that started, is in one of them, so
`down` needs no memory of processes. They are also a node's root: a node sees its own directory as `/`.

Works on version 1, hybrid and version 2. Used by node_init.py, outsiders.py and cleanup.py.
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from seta_playground import processes as records

MOUNTS = Path("/proc/self/mounts")
LEAF = "system"  # version 2 allows processes only in leaves; a node's own live in this one
KILL_TIMEOUT = 20.0  # seconds


@dataclass(frozen=True)
class Hierarchy:
    root: Path
    version2: bool
    options: str  # mount options that name the controllers, "" for version 2


def hierarchies() -> list[Hierarchy]:
    """All mounted hierarchies, version 2 last."""
    found = {}  # root -> hierarchy
    for line in MOUNTS.read_text().splitlines():
        _, root, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found[root] = Hierarchy(Path(root), version2=True, options="")
        elif kind == "cgroup":
            found[root] = Hierarchy(Path(root), version2=False, options=_controllers(options))
    return sorted(found.values(), key=lambda h: h.version2)


def _controllers(options: str) -> str:
    generic = {"rw", "ro", "relatime", "noatime", "nosuid", "nodev", "noexec", "xattr", "seclabel"}
    names = [
        option for option in options.split(",") if option not in generic and not option.startswith("release_agent")
    ]
    return ",".join(["none", *names] if names[0].startswith("name=") else names)


def of_cluster(cluster: str) -> str:
    return f"playground-{cluster}"


def of_place(cluster: str, place: str) -> str:
    return f"{of_cluster(cluster)}/{place}"


def join(group: str, pid: int = 0) -> None:
    """Move a process (0: the caller) into the group, made where missing, in every hierarchy."""
    for hierarchy in hierarchies():
        path = hierarchy.root / group
        _create(hierarchy, path)
        (path / "cgroup.procs").write_text(str(pid))


def make(group: str) -> None:
    """Make a group, with its leaf, that nothing runs in yet."""
    for hierarchy in hierarchies():
        _create(hierarchy, hierarchy.root / group)
    for file in leaves(group):
        file.parent.mkdir(exist_ok=True)


def leaves(group: str) -> list[Path]:
    """The files that a process id is written to, to be in the group, or in its leaf in version 2."""
    return [h.root / group / (LEAF if h.version2 else "") / "cgroup.procs" for h in hierarchies()]


def join_leaf(group: str) -> None:
    """As join, but into the leaf of a group that has children in version 2. For the calling process."""
    for file in leaves(group):
        file.parent.mkdir(exist_ok=True)
        file.write_text("0")


def delegate(group: str) -> None:
    """Version 2: let the children of a group without processes of its own have every controller."""
    for hierarchy in hierarchies():
        if hierarchy.version2:
            _enable(hierarchy.root / group)


def _create(hierarchy: Hierarchy, path: Path) -> None:
    for directory in [*reversed(path.relative_to(hierarchy.root).parents), path.relative_to(hierarchy.root)]:
        here = hierarchy.root / directory
        if hierarchy.version2 and here != hierarchy.root:
            _enable(here.parent)
        here.mkdir(exist_ok=True)
        if "cpuset" in hierarchy.options.split(",") and here != hierarchy.root:
            _inherit_cpuset(here)


def _inherit_cpuset(path: Path) -> None:
    """A version 1 cpuset starts empty and takes no process until it is told its processors and memory."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (path / name).read_text().strip():
            (path / name).write_text((path.parent / name).read_text())


def _enable(path: Path) -> None:
    for controller in (path / "cgroup.controllers").read_text().split():
        with (path / "cgroup.subtree_control").open("w") as control:
            control.write(f"+{controller}")


def processes(cluster: str) -> set[int]:
    """Every process of a cluster."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for file in (hierarchy.root / of_cluster(cluster)).glob("**/cgroup.procs"):
            try:
                found.update(int(pid) for pid in file.read_text().split())
            except OSError:  # the group went away meanwhile
                continue
    return found


def kill(cluster: str) -> bool:
    """Kill every process of a cluster; False where some survive (in the kernel, uninterruptible).

    A dying process leaves its group before it lets go of its namespaces, so the processes are waited for too.
    """
    deadline = time.monotonic() + KILL_TIMEOUT
    dying: set[records.Record] = set()
    while (remaining := processes(cluster)) or dying:
        dying |= {record for pid in remaining if (record := records.record(pid))}
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
        dying = {record for record in dying if records.alive(record)}
    return True


def remove(cluster: str) -> None:
    """Remove the cluster's groups, deepest first. They must be empty of processes."""
    for hierarchy in hierarchies():
        top = hierarchy.root / of_cluster(cluster)
        for directory, _, _ in os.walk(top, topdown=False):
            _remove(Path(directory))


def _remove(path: Path) -> None:
    """The kernel lets go of a killed process's group a moment after the process is gone from it."""
    deadline = time.monotonic() + 2.0
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
