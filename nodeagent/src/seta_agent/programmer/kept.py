"""Programs that are in the kernel already, found again by what they were made of. Called by `programs` only.

The kernel takes about a second of CPU to verify all objects, which is most of an agent's start. What an earlier agent
loaded from the same bytes, with the same constants and onto the same maps, is the same program: it is pinned under a
digest of all three, and a restart takes it from there. Pins do not outlive a reboot, as programs do not.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from seta_agent.bpf import syscall
from seta_agent.bpf.errors import BpfError, Reason

log = structlog.get_logger()


class KeptPrograms:
    """Owns the pins below `root`, one directory per object with one per digest in it, and the descriptors it gave."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._fds: list[int] = []

    def find(self, name: str, digest: str, programs: Iterable[str]) -> dict[str, int] | None:
        """Program -> descriptor, ours to close; None where not all of the object's are kept."""
        found: dict[str, int] = {}
        for program in programs:
            try:
                found[program] = syscall.get(self._root / name / digest / program)
            except BpfError as error:
                for fd in found.values():
                    os.close(fd)
                if error.reason is Reason.NOT_FOUND:
                    return None
                raise
        self._fds += found.values()
        return found

    def keep(self, name: str, digest: str, programs: Mapping[str, int]) -> None:
        """In the place of what was kept of this object. A start without it is slow, and nothing else."""
        shutil.rmtree(self._root / name, ignore_errors=True)
        try:
            (self._root / name / digest).mkdir(parents=True)
            for program, fd in programs.items():
                syscall.pin(fd, self._root / name / digest / program)
        except (OSError, BpfError) as error:
            log.warning("programs_not_kept", object=name, reason=str(error))

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


def digest_of(file: pathlib.Path, config: Mapping[str, Any], maps: Iterable[pathlib.Path]) -> str | None:
    """What a loaded object is made of: its bytes, its constants and its pinned maps. None where one of these is not."""
    made_of = hashlib.sha256(file.read_bytes())
    made_of.update(json.dumps(config, sort_keys=True).encode())
    for path in maps:
        number = _map_id(path)
        if number is None:
            return None
        made_of.update(f"{path.name} {number}\n".encode())
    return made_of.hexdigest()[:32]


def _map_id(path: pathlib.Path) -> int | None:
    try:
        fd = syscall.get(path)
    except BpfError as error:
        if error.reason is Reason.NOT_FOUND:
            return None
        raise
    try:
        return syscall.map_info(fd).id
    finally:
        os.close(fd)
