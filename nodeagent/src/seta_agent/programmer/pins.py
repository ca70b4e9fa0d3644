"""Maps pinned by an earlier agent, made to fit before the objects are loaded. Called by `programs` only.

libbpf takes a pinned map that fits and refuses one that does not. Maps whose size alone changed are made anew and
filled with what was in the old one; a changed layout starts empty, and the stages fill it again.
"""

import dataclasses
import os
import pathlib

import structlog

from seta_agent.bpf import syscall
from seta_agent.bpf.btf import MapLayout
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.bpf.maps import Map

NEVER_COPIED = {
    syscall.ARRAY_OF_MAPS,
    syscall.HASH_OF_MAPS,
    27,
}  # inner maps are put in again; a ring buffer has no entries
log = structlog.get_logger()


@dataclasses.dataclass(slots=True)
class Replaced:
    """A map whose pin was taken away. `keeps`: its entries fit into the new one."""

    name: str
    old: Map
    keeps: bool


def replace_misfit(directory: pathlib.Path, wanted: MapLayout, inner_fd: int | None = None) -> Replaced | None:
    """Take the pin away if the map behind it does not fit; None where it does or where there is none.

    `inner_fd`: of a map of maps keyed by numbers, a map as it is to hold.
    """
    path = directory / wanted.name
    try:
        fd = syscall.get(path)
    except BpfError as error:
        if error.reason is Reason.NOT_FOUND:
            return None
        raise
    have = syscall.map_info(fd)
    if (have.kind, have.key_size, have.value_size, have.max_entries, have.flags) == (
        *(wanted.kind, wanted.key_size, wanted.value_size or have.value_size),
        *(wanted.max_entries, wanted.flags),
    ) and (inner_fd is None or _holds(fd, wanted.key_size, inner_fd)):
        os.close(fd)
        return None
    path.unlink()
    same_layout = (have.kind, have.key_size, have.value_size) == (wanted.kind, wanted.key_size, wanted.value_size)
    log.warning(
        "map_replaced",
        map=wanted.name,
        size=[have.max_entries, wanted.max_entries],
        value_bytes=[have.value_size, wanted.value_size],
        entries="kept" if same_layout else "programmed again",
    )
    return Replaced(wanted.name, Map(fd), same_layout and have.kind not in NEVER_COPIED)


def _holds(outer_fd: int, key_size: int, inner_fd: int) -> bool:
    """Whether a map of maps takes such an inner map: nothing but trying tells. Key 0 is nobody's."""
    key = bytes(key_size)
    try:
        syscall.map_update(outer_fd, key, inner_fd.to_bytes(4, "little"))
    except BpfError as error:
        if error.reason is Reason.INVALID:
            return False
        raise
    syscall.map_delete(outer_fd, key)
    return True


def take_over(directory: pathlib.Path, replaced: Replaced) -> bool:
    """Copy the entries of a replaced map into the new one: whether nothing is missing in it."""
    try:
        return replaced.keeps and _copy(replaced.old, directory / replaced.name)
    finally:
        replaced.old.close()


def put_back(directory: pathlib.Path, replaced: Replaced) -> None:
    """The objects could not be loaded: the pin is what it was, for the agent that can."""
    path = directory / replaced.name
    path.unlink(missing_ok=True)
    syscall.pin(replaced.old.fd, path)
    replaced.old.close()


def _copy(old: Map, path: pathlib.Path) -> bool:
    new = Map.pinned(path)
    try:
        for keys, values in old.batches():
            new.update(keys, values)
    except BpfError as error:
        log.warning("map_entries_lost", map=path.name, reason=str(error))
        return False
    finally:
        new.close()
    return True
