"""bpf(2) itself: maps, pins, links and test runs, one function per command.

Called by the programmer and the tests. Loading object files is libbpf's (`seta_agent.bpf.libbpf`); everything else
goes straight to the kernel, because libbpf 1.1 hides what TCX links need (revisions, order) and the batch commands
want nothing but pointers. Errors: `BpfError`. File descriptors are the caller's to close.
"""

import ctypes
import dataclasses
import os
import pathlib
import platform
import struct
from typing import Any

from seta_agent.bpf.errors import BpfError, Reason, from_errno

NUMBER = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 321)
MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE = 0, 1, 2, 3
OBJ_PIN, OBJ_GET, TEST_RUN, MAP_BY_ID, GET_INFO, PROG_QUERY = 6, 7, 10, 14, 15, 16
LOOKUP_BATCH, UPDATE_BATCH, DELETE_BATCH = 24, 26, 27
LINK_CREATE, LINK_UPDATE, LINK_DETACH = 28, 29, 34
XDP, TCX_INGRESS, TCX_EGRESS = 37, 46, 47
XDP_GENERIC, XDP_NATIVE = 2, 4  # flags of an attachment: by the stack, by the driver
CGROUP_ATTACH = {  # section name of the program -> attach type
    "cgroup/connect4": 10,
    "cgroup/connect6": 11,
    "cgroup/post_bind4": 12,
    "cgroup/post_bind6": 13,
    "cgroup/sendmsg4": 14,
    "cgroup/sendmsg6": 15,
    "cgroup/recvmsg4": 19,
    "cgroup/recvmsg6": 20,
    "cgroup/getpeername4": 29,
    "cgroup/getpeername6": 30,
    "cgroup/sock_release": 34,
}
HASH, ARRAY, LRU_HASH, LPM_TRIE, ARRAY_OF_MAPS, HASH_OF_MAPS = 1, 2, 9, 11, 12, 13
PERCPU_KINDS = {5, 6, 10}  # percpu hash, percpu array, LRU percpu hash
NO_PREALLOC = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)


@dataclasses.dataclass(frozen=True, slots=True)
class MapInfo:
    kind: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class LinkInfo:
    """`target` is the ifindex (TCX; 0: the device is gone) or the cgroup id (0: gone)."""

    kind: int
    id: int
    prog_id: int
    target: int
    attach_type: int


@dataclasses.dataclass(frozen=True, slots=True)
class TestRun:
    __test__ = False  # no test case, whatever pytest thinks of the name
    retval: int
    data: bytes
    ctx: bytes
    duration: int  # ns per repetition


def bpf(command: int, attributes: bytes, operation: str) -> tuple[int, bytes]:
    """Make one system call: its result and the attributes as the kernel left them."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return bpf_in_place(command, buffer, operation), buffer.raw


def bpf_in_place(command: int, attributes: Any, operation: str) -> int:
    """The same on a ctypes buffer, which tells how far the kernel came also when it fails."""
    result: int = _libc.syscall(NUMBER, command, ctypes.addressof(attributes), len(attributes))
    if result < 0:
        raise from_errno(operation, ctypes.get_errno())
    return result


def _pointer(data: bytes) -> tuple[int, Any]:
    """An address for the kernel to read, and what keeps it alive."""
    buffer = ctypes.create_string_buffer(data, len(data))
    return ctypes.addressof(buffer), buffer


def map_create(
    kind: int, name: str, key_size: int, value_size: int, max_entries: int, *, flags: int = 0, inner_fd: int = 0
) -> int:
    label = name.encode()[:15]
    attributes = struct.pack("=7I16s", kind, key_size, value_size, max_entries, flags, inner_fd, 0, label)
    return bpf(MAP_CREATE, attributes, f"creating the map {name}")[0]


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """The value of one key (per-CPU maps: `value_size` covers all CPUs), None where there is none."""
    where, _keep = _pointer(key)
    value = ctypes.create_string_buffer(value_size)
    try:
        bpf(MAP_LOOKUP, struct.pack("=IIQQQ", fd, 0, where, ctypes.addressof(value), 0), "looking up a map entry")
    except BpfError as error:
        if error.reason is Reason.NOT_FOUND:
            return None
        raise
    return value.raw


def map_update(fd: int, key: bytes, value: bytes, flags: int = 0) -> None:
    key_at, _key = _pointer(key)
    value_at, _value = _pointer(value)
    bpf(MAP_UPDATE, struct.pack("=IIQQQ", fd, 0, key_at, value_at, flags), "writing a map entry")


def map_delete(fd: int, key: bytes) -> bool:
    """Whether there was such an entry."""
    where, _keep = _pointer(key)
    try:
        bpf(MAP_DELETE, struct.pack("=IIQQQ", fd, 0, where, 0, 0), "deleting a map entry")
    except BpfError as error:
        if error.reason is Reason.NOT_FOUND:
            return False
        raise
    return True


def pin(fd: int, path: pathlib.Path) -> None:
    where, _keep = _pointer(os.fsencode(path) + b"\0")
    bpf(OBJ_PIN, struct.pack("=QII", where, fd, 0), f"pinning {path}")


def get(path: pathlib.Path) -> int:
    """A descriptor of what is pinned there; `BpfError(NOT_FOUND)` where nothing is."""
    where, _keep = _pointer(os.fsencode(path) + b"\0")
    return bpf(OBJ_GET, struct.pack("=QII", where, 0, 0), f"opening the pin {path}")[0]


def map_by_id(number: int) -> int:
    """A descriptor of a map by its kernel id, for looking into a map of maps. Needs CAP_SYS_ADMIN."""
    return bpf(MAP_BY_ID, struct.pack("=III", number, 0, 0), f"opening the map with id {number}")[0]


def map_info(fd: int) -> MapInfo:
    raw = _info(fd, 80, "a map")
    kind, map_id, key, value, entries, flags, name = struct.unpack_from("=6I16s", raw)
    return MapInfo(kind, map_id, key, value, entries, flags, name.split(b"\0")[0].decode())


def program_id(fd: int) -> int:
    return int(struct.unpack_from("=I", _info(fd, 80, "a program"), 4)[0])


def link_info(fd: int) -> LinkInfo:
    raw = _info(fd, 64, "a link")
    kind, link_id, prog_id, _, target, attach_type = struct.unpack_from("=6I", raw)
    if kind == 3:  # BPF_LINK_TYPE_CGROUP: 64 bits of cgroup id
        target, attach_type = struct.unpack_from("=QI", raw, 16)
    elif kind == 6:  # BPF_LINK_TYPE_XDP knows no other attach type
        attach_type = XDP
    return LinkInfo(kind, link_id, prog_id, target, attach_type)


def _info(fd: int, size: int, what: str) -> bytes:
    buffer = ctypes.create_string_buffer(size)
    bpf(GET_INFO, struct.pack("=IIQ", fd, size, ctypes.addressof(buffer)), f"asking about {what}")
    return buffer.raw


def link_create(prog_fd: int, target: int, attach_type: int, flags: int = 0) -> int:
    """Attach to a device (ifindex, looked up in the caller's network namespace) or a cgroup (descriptor)."""
    attributes = struct.pack("=IIIIIIQ", prog_fd, target, attach_type, flags, 0, 0, 0)
    return bpf(LINK_CREATE, attributes, f"attaching a program (attach type {attach_type}) to {target}")[0]


def link_update(link_fd: int, prog_fd: int) -> None:
    """Replace the program of a link atomically; `BpfError(SEVERED)` where device or cgroup are gone."""
    bpf(LINK_UPDATE, struct.pack("=IIII", link_fd, prog_fd, 0, 0), "replacing the program of a link")


def link_detach(link_fd: int) -> None:
    """Take a link's program off at once, whoever still holds the link; nothing where device or cgroup are gone."""
    bpf(LINK_DETACH, struct.pack("=I", link_fd), "detaching a link")


def attached(target: int, attach_type: int) -> list[tuple[int, int]]:
    """What is attached to a device or cgroup: (program id, link id), in running order."""
    programs, links = (ctypes.c_uint32 * 64)(), (ctypes.c_uint32 * 64)()
    where = [ctypes.addressof(a) for a in (programs, links)]
    attributes = struct.pack("=IIIIQIIQQQQ", target, attach_type, 0, 0, where[0], 64, 0, 0, where[1], 0, 0)
    _, after = bpf(PROG_QUERY, attributes, f"asking what is attached to {target}")
    (count,) = struct.unpack_from("=I", after, 24)
    return [(programs[i], links[i]) for i in range(count)]


def prog_run(prog_fd: int, ctx: bytes) -> bytes:
    """Run a program of section `syscall`: its context, as it leaves it."""
    held = ctypes.create_string_buffer(ctx, len(ctx))
    attributes = struct.pack(
        "=IIIIQQIIIIQQ", *(prog_fd, 0, 0, 0, 0, 0, 0, 0, len(ctx), 0), *(ctypes.addressof(held), 0)
    )
    bpf(TEST_RUN, attributes, "running a program")
    return held.raw


def prog_test_run(prog_fd: int, data: bytes, ctx: bytes = b"", *, repeat: int = 1, room: int = 512) -> TestRun:
    """Run a program on one packet. `room`: bytes that the packet may grow by. `ctx`: a `struct __sk_buff` or so."""
    data_at, _data = _pointer(data)
    ctx_at, _ctx = _pointer(ctx)
    out = ctypes.create_string_buffer(len(data) + room)
    ctx_out = ctypes.create_string_buffer(max(len(ctx), 1))
    attributes = struct.pack(
        "=IIIIQQIIIIQQIIII",
        *(prog_fd, 0, len(data), len(out), data_at, ctypes.addressof(out), repeat, 0, len(ctx), len(ctx)),
        *(ctx_at if ctx else 0, ctypes.addressof(ctx_out) if ctx else 0, 0, 0, 0, 0),
    )
    _, after = bpf(TEST_RUN, attributes, "running a program on a test packet")
    retval, _, size = struct.unpack_from("=III", after, 4)
    duration, _, ctx_size = struct.unpack_from("=III", after, 36)
    return TestRun(retval, out.raw[:size], ctx_out.raw[:ctx_size], duration)
