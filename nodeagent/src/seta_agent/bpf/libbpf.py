"""Object files through libbpf.so.1: open, adjust, load, and the descriptors of what is in them.

Called by the programmer and the datapath tests. libbpf relocates maps and BTF, reuses maps pinned by name, and knows
every kernel's quirks; the rest of eBPF is `seta_agent.bpf.syscall`. What libbpf prints (the verifier's text is part
of it) is kept and becomes the `detail` of the `BpfError`. The library is opened at first use, not at import.
"""

import ctypes
import functools
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from seta_agent.bpf.btf import Btf
from seta_agent.bpf.errors import BpfError, Reason, from_errno

KEPT = 400  # lines of libbpf's output
POINTERS = (  # functions that return a pointer, with their argument types
    ("bpf_object__open_file", (ctypes.c_char_p, ctypes.c_void_p)),
    ("bpf_object__next_map", (ctypes.c_void_p, ctypes.c_void_p)),
    ("bpf_object__next_program", (ctypes.c_void_p, ctypes.c_void_p)),
    ("bpf_object__find_map_by_name", (ctypes.c_void_p, ctypes.c_char_p)),
    ("bpf_object__find_program_by_name", (ctypes.c_void_p, ctypes.c_char_p)),
    ("bpf_map__initial_value", (ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t))),
)
NAMES = (
    ("bpf_map__name", (ctypes.c_void_p,)),
    ("bpf_program__name", (ctypes.c_void_p,)),
    ("bpf_program__section_name", (ctypes.c_void_p,)),
)
NUMBERS = (
    ("bpf_object__load", (ctypes.c_void_p,)),
    ("bpf_map__fd", (ctypes.c_void_p,)),
    ("bpf_map__reuse_fd", (ctypes.c_void_p, ctypes.c_int)),
    ("bpf_map__set_max_entries", (ctypes.c_void_p, ctypes.c_uint32)),
    ("bpf_map__set_pin_path", (ctypes.c_void_p, ctypes.c_char_p)),
    ("bpf_map__set_inner_map_fd", (ctypes.c_void_p, ctypes.c_int)),
    ("bpf_program__fd", (ctypes.c_void_p,)),
    ("bpf_program__set_autoload", (ctypes.c_void_p, ctypes.c_bool)),
)


class _OpenOpts(ctypes.Structure):
    """struct bpf_object_open_opts, as far as it is used."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
    )


class _Library:
    """libbpf.so.1 with every signature declared, and the lines that it printed."""

    def __init__(self) -> None:
        try:
            self.c = ctypes.CDLL("libbpf.so.1", use_errno=True)
        except OSError as error:
            raise BpfError("opening libbpf.so.1 (Debian package libbpf1)", Reason.OTHER, detail=str(error)) from error
        for result, functions in ((ctypes.c_void_p, POINTERS), (ctypes.c_char_p, NAMES), (ctypes.c_int, NUMBERS)):
            for name, arguments in functions:
                function = getattr(self.c, name)
                function.restype, function.argtypes = result, arguments
        self.c.bpf_object__close.restype, self.c.bpf_object__close.argtypes = None, (ctypes.c_void_p,)
        self.lines: list[str] = []
        self._format = ctypes.CDLL(None).vsnprintf
        self._format.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._print = kind(self._keep)  # the library calls it as long as the process lives
        self.c.libbpf_set_print(self._print)

    def _keep(self, level: int, text: bytes, arguments: int) -> int:
        if level < 2:  # warnings and what the user should know, not debugging
            buffer = ctypes.create_string_buffer(65536)
            self._format(buffer, len(buffer), text, arguments)
            self.lines.extend(buffer.value.decode(errors="replace").splitlines())
            del self.lines[:-KEPT]
        return 0


@functools.cache
def library() -> _Library:
    return _Library()


class Object:
    """An opened object file; after `load()` its programs and maps are in the kernel as long as it is not closed.

    `pin_root`: where maps declared LIBBPF_PIN_BY_NAME are found again and pinned; None pins in /sys/fs/bpf itself.
    """

    def __init__(self, path: pathlib.Path, pin_root: pathlib.Path | None = None) -> None:
        self.path = path
        self.name = path.name.removesuffix(".bpf.o")
        self.btf = Btf(path)
        self._root = os.fsencode(pin_root) if pin_root else None
        options = _OpenOpts(sz=ctypes.sizeof(_OpenOpts), pin_root_path=self._root)
        library().lines.clear()
        self._pointer = library().c.bpf_object__open_file(os.fsencode(path), ctypes.byref(options))
        if not self._pointer:
            raise BpfError(f"opening {path}", Reason.BAD_OBJECT, number=ctypes.get_errno(), detail=_printed())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._pointer:
            library().c.bpf_object__close(self._pointer)
            self._pointer = None

    @property
    def map_names(self) -> list[str]:
        return self._names("bpf_object__next_map", "bpf_map__name")

    @property
    def programs(self) -> dict[str, str]:
        """By program name, the section name."""
        return dict(
            zip(
                self._names("bpf_object__next_program", "bpf_program__name"),
                self._names("bpf_object__next_program", "bpf_program__section_name"),
                strict=True,
            )
        )

    def set_max_entries(self, name: str, entries: int) -> None:
        self._map_call("bpf_map__set_max_entries", name, entries)

    def set_inner_map(self, name: str, fd: int) -> None:
        """The prototype of the inner maps of a map of maps."""
        self._map_call("bpf_map__set_inner_map_fd", name, fd)

    def reuse_map(self, name: str, fd: int) -> None:
        self._map_call("bpf_map__reuse_fd", name, fd)

    def set_rodata(self, variable: str, fields: Mapping[str, Any]) -> None:
        """Write fields of a `const volatile` struct before loading; offsets come from the BTF.

        Unknown fields are an error: configuration that silently goes nowhere would be worse than none.
        """
        section = next((name for name in self.map_names if name.endswith(".rodata")), "")
        if variable not in self.btf.rodata or not section:
            raise BpfError(f"configuring {self.path.name}: it has no variable {variable}", Reason.BAD_OBJECT)
        offset, dtype = self.btf.rodata[variable]
        size = ctypes.c_size_t()
        start = library().c.bpf_map__initial_value(self._map(section), ctypes.byref(size))
        raw = (ctypes.c_char * size.value).from_address(start)
        write_fields(np.frombuffer(memoryview(raw), dtype, 1, offset)[0], fields)

    def load(self) -> None:
        """Into the kernel; pinned maps are reused. One clear sentence where this kernel cannot."""
        library().lines.clear()
        result = library().c.bpf_object__load(self._pointer)
        if result < 0:
            raise _load_error(self.path, -result, _printed())

    def program_fd(self, name: str) -> int:
        """The descriptor of a loaded program; it is the object's."""
        found = library().c.bpf_object__find_program_by_name(self._pointer, name.encode())
        return self._checked(f"looking up the program {name}", lambda: library().c.bpf_program__fd(found))

    def map_fd(self, name: str) -> int:
        """The descriptor of a loaded map; it is the object's."""
        return self._checked(f"looking up the map {name}", lambda: library().c.bpf_map__fd(self._map(name)))

    def _map(self, name: str) -> int:
        found: int | None = library().c.bpf_object__find_map_by_name(self._pointer, name.encode())
        if not found:
            raise BpfError(f"{self.path.name} has no map {name}", Reason.BAD_OBJECT)
        return found

    def _map_call(self, function: str, name: str, argument: int) -> None:
        self._checked(f"setting up the map {name}", lambda: getattr(library().c, function)(self._map(name), argument))

    def _checked(self, operation: str, call: Callable[[], int]) -> int:
        result = call()
        if result < 0:
            raise from_errno(f"{operation} of {self.path.name}", -result, _printed())
        return result

    def _names(self, following: str, naming: str) -> list[str]:
        names: list[str] = []
        current = None
        while current := getattr(library().c, following)(self._pointer, current):
            names.append(getattr(library().c, naming)(current).decode())
        return names


def write_fields(record: Any, fields: Mapping[str, Any]) -> None:
    """Assign fields of a structured scalar, nested ones by nested mappings."""
    for name, value in fields.items():
        if name not in (record.dtype.names or ()):
            raise BpfError(f"configuring an object: it has no field {name}", Reason.BAD_OBJECT)
        if isinstance(value, Mapping):
            write_fields(record[name], value)
        else:
            record[name] = value


def _printed() -> str:
    return "\n".join(library().lines)


def _load_error(path: pathlib.Path, number: int, printed: str) -> BpfError:
    """The verifier's verdict and a changed pinned map look alike to errno; libbpf's text tells them apart."""
    mismatch = re.search(r"couldn't reuse pinned map at '([^']+)'", printed)
    if mismatch and "mismatch" in printed:
        return BpfError(f"loading {path.name} over {mismatch[1]}", Reason.MISMATCH, number=number, detail=printed)
    if "BEGIN PROG LOAD LOG" in printed:
        failed = re.search(r"prog '([^']+)': failed to load", printed)
        what = f"loading {path.name}" + (f", program {failed[1]}" if failed else "")
        return BpfError(what, Reason.REJECTED, number=number, detail=printed)
    return from_errno(f"loading {path.name}", number, printed)
