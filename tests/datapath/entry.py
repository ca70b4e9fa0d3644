"""A small program in front of the tested one, for what a test run cannot give a packet by itself.

The kernel's VXLAN device leaves a tunnel key, without which from_overlay drops everything; a VLAN's tag is beside the
frame when a program sees that; and BPF_PROG_TEST_RUN refuses frames with less than an IP header or more than a page,
which a network does deliver. So the entry sets the key and the tag, cuts the frame or fills it up with zeros, and
tail-calls.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

from seta_agent.bpf import syscall

PROG_ARRAY, SCHED_CLS, PROG_LOAD = 3, 3, 5
SET_TUNNEL_KEY, VLAN_PUSH, CHANGE_TAIL, TAIL_CALL = 21, 18, 38, 12
MOVE, SET, ADD, CALL, EXIT, STORE, LOAD64 = 0xBF, 0xB7, 0x07, 0x85, 0x95, 0x62, 0x18
PRIORITY = 5 << 13  # of a VLAN's tag: above the VLAN's number
MAP_FD = 1  # src_reg of a 64-bit load: the immediate is a map
FAILED = 55  # returned where the tail call failed


def _instruction(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


def _set_tunnel_key(identity: int) -> list[bytes]:
    return [
        _instruction(STORE, 10, off=-8, imm=identity),
        _instruction(STORE, 10, off=-4, imm=0x0A0A0A0A),
        _instruction(MOVE, 1, 6),
        _instruction(MOVE, 2, 10),
        _instruction(ADD, 2, imm=-8),
        _instruction(SET, 3, imm=8),
        _instruction(SET, 4, imm=0),
        _instruction(CALL, imm=SET_TUNNEL_KEY),
    ]


def _tag(vlan: int) -> list[bytes]:
    return [
        _instruction(MOVE, 1, 6),
        _instruction(SET, 2, imm=0x0081),  # ETH_P_8021Q in network order
        _instruction(SET, 3, imm=PRIORITY | vlan),
        _instruction(CALL, imm=VLAN_PUSH),
    ]


def _resize(length: int) -> list[bytes]:
    return [
        _instruction(MOVE, 1, 6),
        _instruction(SET, 2, imm=length),
        _instruction(SET, 3, imm=0),
        _instruction(CALL, imm=CHANGE_TAIL),
    ]


def _tail_call(array: int) -> list[bytes]:
    return [
        _instruction(MOVE, 1, 6),
        _instruction(LOAD64, 2, MAP_FD, imm=array) + _instruction(0),
        _instruction(SET, 3, imm=0),
        _instruction(CALL, imm=TAIL_CALL),
        _instruction(SET, 0, imm=FAILED),
        _instruction(EXIT),
    ]


@contextlib.contextmanager
def before(target_fd: int, *, identity: int = 0, vlan: int | None = None, length: int = 0) -> Iterator[int]:
    """The descriptor of a program that gives the packet a key, a tag and a length (0: its own), then runs the target.

    `vlan`: 0 is a tag with a priority and no VLAN.
    """
    array = syscall.map_create(PROG_ARRAY, "entry", 4, 4, 1)
    syscall.map_update(array, struct.pack("=I", 0), struct.pack("=I", target_fd))
    key, size = _set_tunnel_key(identity) if identity else [], _resize(length) if length else []
    tag = [] if vlan is None else _tag(vlan)
    code = b"".join([_instruction(MOVE, 6, 1), *key, *tag, *size, *_tail_call(array)])
    text, license_ = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    where = ctypes.addressof(text), ctypes.addressof(license_)
    attributes = struct.pack("=IIQQIIQII16s", SCHED_CLS, len(code) // 8, *where, 0, 0, 0, 0, 0, b"entry")
    program = syscall.bpf(PROG_LOAD, attributes, "loading the entry program")[0]
    try:
        yield program
    finally:
        os.close(program)
        os.close(array)
