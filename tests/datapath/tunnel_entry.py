"""A program of 13 instructions that does what the kernel's VXLAN device does before from_overlay runs: it gives the
packet a tunnel key, then tail-calls. A test run has no tunnel, and without a key from_overlay drops everything.
"""

import ctypes
import struct

from seta_agent.bpf import syscall

PROG_ARRAY, SCHED_CLS, PROG_LOAD = 3, 3, 5
SET_TUNNEL_KEY, TAIL_CALL = 21, 12
MAP_FD = 1  # src_reg of a 64-bit load: the immediate is a map


def _instruction(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


def load(target_fd: int, identity: int) -> int:
    """The descriptor of the entry program; the tunnel key's id will be `identity`."""
    array = syscall.map_create(PROG_ARRAY, "entry", 4, 4, 1)
    syscall.map_update(array, struct.pack("=I", 0), struct.pack("=I", target_fd))
    mov_reg, mov_imm, add_imm, call, leave, store, load64 = 0xBF, 0xB7, 0x07, 0x85, 0x95, 0x62, 0x18
    code = b"".join(
        (
            _instruction(mov_reg, 6, 1),
            _instruction(store, 10, off=-8, imm=identity),
            _instruction(store, 10, off=-4, imm=0x0A0A0A0A),
            _instruction(mov_reg, 2, 10),
            _instruction(add_imm, 2, imm=-8),
            _instruction(mov_imm, 3, imm=8),
            _instruction(mov_imm, 4, imm=0),
            _instruction(call, imm=SET_TUNNEL_KEY),
            _instruction(mov_reg, 1, 6),
            _instruction(load64, 2, MAP_FD, imm=array) + _instruction(0),
            _instruction(mov_imm, 3, imm=0),
            _instruction(call, imm=TAIL_CALL),
            _instruction(mov_imm, 0, imm=55),  # seen only where the tail call failed
            _instruction(leave),
        )
    )
    text, license_ = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    where = ctypes.addressof(text), ctypes.addressof(license_)
    attributes = struct.pack("=IIQQIIQII16s", SCHED_CLS, len(code) // 8, *where, 0, 0, 0, 0, 0, b"tunnel_entry")
    return syscall.bpf(PROG_LOAD, attributes, "loading the tunnel entry")[0]
