"""`playground down`: leaves nothing, whatever state things are in.

Needs no record of what was made: everything has the cluster's name (cgroups, network namespaces, directories), and
mounts, links, pins and rules live in namespaces that go with their processes. So it works after a crash too.
"""

import shutil
import subprocess
import time
from pathlib import Path

from seta_playground import cgroups, paths, state
from seta_playground.errors import PlaygroundError

NETNS = Path("/run/netns")
LEFTOVER_TIMEOUT = 10.0  # seconds that the kernel is given to let go of killed nodes' mounts


def remove(cluster: str) -> None:
    """Remove everything of a cluster."""
    if not cgroups.kill(cluster):
        stuck = sorted(cgroups.processes(cluster))
        raise PlaygroundError(
            f"processes {stuck} cannot be killed: they wait in the kernel (see their /proc/PID/stack)"
        )
    for name in namespaces(cluster):
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    cgroups.remove(cluster)
    for directory in (paths.data_dir(cluster), paths.run_dir(cluster)):
        _remove_tree(directory)
    for parent in (paths.data_dir(cluster).parent, paths.RUN):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def left_over(cluster: str) -> bool:
    """Whether there is anything to remove."""
    directories = [paths.run_dir(cluster), paths.data_dir(cluster)]
    directories += [hierarchy.root / cgroups.of_cluster(cluster) for hierarchy in cgroups.hierarchies()]
    return bool(namespaces(cluster)) or any(directory.exists() for directory in directories)


def namespaces(cluster: str) -> list[str]:
    """Names of the cluster's network namespaces."""
    return sorted(file.name for file in NETNS.glob(f"{cluster}.*"))


def clusters() -> list[str]:
    """Every cluster of which anything is left, whether `up` finished or not."""
    found = {directory.name for directory in paths.RUN.glob("*") if directory.is_dir()}
    found |= set(state.names())
    prefix = cgroups.of_cluster("")
    for hierarchy in cgroups.hierarchies():
        found |= {group.name.removeprefix(prefix) for group in hierarchy.root.glob(f"{prefix}*")}
    return sorted(found)


def _remove_tree(directory: Path) -> None:
    """A killed node's mounts go a moment after its last process."""
    deadline = time.monotonic() + LEFTOVER_TIMEOUT
    while directory.exists():
        try:
            shutil.rmtree(directory)
        except OSError as error:
            if time.monotonic() > deadline:
                raise PlaygroundError(f"{directory} cannot be removed: {error}") from error
            time.sleep(0.1)
