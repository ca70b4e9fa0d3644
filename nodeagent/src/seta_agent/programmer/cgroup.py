"""Finds the cgroup2 directory at which the socket hooks belong. Called by `node`."""

import pathlib

from seta_agent.programmer.errors import ProgrammingError

CGROUP2_MAGIC_FILE = "cgroup.controllers"  # cgroup2 has it in every directory, version 1 nowhere
USUAL = (pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/unified"))


def root(configured: str) -> pathlib.Path:
    """The directory configured, or else the root of cgroup2 where systems have it."""
    if configured:
        found = pathlib.Path(configured)
        if not (found / CGROUP2_MAGIC_FILE).exists():
            raise ProgrammingError(f"{found} is no cgroup2: correct Helm value cgroup.hostRoot", retry=False)
        return found
    for usual in USUAL:
        if (usual / CGROUP2_MAGIC_FILE).exists():
            return usual
    raise ProgrammingError(
        "there is no cgroup2 below /sys/fs/cgroup: mount one, or name it in Helm value cgroup.hostRoot"
    )
