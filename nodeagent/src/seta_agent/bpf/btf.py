"""Layouts from the BTF in a shipped object: numpy dtypes of map keys and values, rodata variables, enums.

The BTF is the one truth about C layouts: nothing in the agent repeats a struct. Read from the object file, not from
the kernel: looking BTF up by id would want CAP_SYS_ADMIN. Called by the programmer, the API's dumps and the monitor.

Big-endian typedefs (`__be16`, `__be32`) become big-endian fields, so that Python reads and writes plain numbers.
Unions have overlapping fields, anonymous members are flattened into their parent, bit fields have no field.
"""

import dataclasses
import functools
import pathlib
import struct
from typing import Any

import numpy as np

from seta_agent.bpf.elf import Elf
from seta_agent.bpf.errors import BpfError, Reason

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)
BIG_ENDIAN = {"__be16": ">u2", "__be32": ">u4", "__be64": ">u8"}  # typedef -> dtype
TRAILING = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}  # kind -> bytes after the common part
PER_MEMBER = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}  # kind -> bytes per member

Dtype = np.dtype[Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Type:
    kind: int
    name: str
    flag: bool  # struct members carry bit field sizes
    size: int  # bytes, or the id of the type referred to
    members: tuple[tuple[int, int, int], ...]  # three words each, by kind
    extra: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class MapLayout:
    """A map as its object declares it; `key` and `value` are None where only sizes are declared."""

    name: str
    kind: int
    key: Dtype | None
    value: Dtype | None
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    pinned: bool  # LIBBPF_PIN_BY_NAME


class Btf:
    """The types of one object file. `BpfError(BAD_OBJECT)` where a name is missing or the file is no object."""

    def __init__(self, path: pathlib.Path) -> None:
        self._elf = Elf(path)
        self._path = path
        raw = self._elf.section(".BTF")
        if len(raw) < 24 or raw[:2] != b"\x9f\xeb":
            raise BpfError(f"reading {path}", Reason.BAD_OBJECT, detail="no BTF in it")
        header, types, types_size, strings = struct.unpack_from("<4I", raw, 4)
        self._strings = raw[header + strings :]
        self._types = [Type(0, "void", flag=False, size=0, members=(), extra=())]  # index = BTF type id
        self._parse(raw, header + types, header + types + types_size)
        self._dtypes: dict[int, Dtype] = {}  # type id -> dtype
        self._ids = {(t.kind, t.name): i for i, t in enumerate(self._types)}  # (kind, name) -> type id

    def dtype(self, name: str) -> Dtype:
        """The layout of `struct name`, `union name` or a typedef."""
        for kind in (STRUCT, UNION, TYPEDEF):
            if (kind, name) in self._ids:
                return self._dtype(self._ids[kind, name])
        raise BpfError(f"looking up struct {name} in {self._path}", Reason.BAD_OBJECT)

    def enum(self, name: str) -> dict[str, int]:
        """The constants of `enum name`: constant -> number."""
        found = self._types[self._ids.get((ENUM, name), 0)]
        if not found.members:
            raise BpfError(f"looking up enum {name} in {self._path}", Reason.BAD_OBJECT)
        return {self._name(name): value - (value >> 31 << 32) for name, value, _ in found.members}

    @functools.cached_property
    def maps(self) -> dict[str, MapLayout]:
        """The maps that the object declares: name -> layout."""
        section = self._types[self._ids.get((DATASEC, ".maps"), 0)]
        variables = (self._types[type_id] for type_id, _, _ in section.members)
        return {variable.name: self._map(variable) for variable in variables}

    @functools.cached_property
    def rodata(self) -> dict[str, tuple[int, Dtype]]:
        """The `const volatile` variables: name -> (offset in .rodata, layout).

        Offsets come from the symbol table: clang leaves those in the BTF at zero, and declaration order says nothing.
        """
        offsets = self._elf.symbols(".rodata")
        section = self._types[self._ids.get((DATASEC, ".rodata"), 0)]
        variables = [self._types[type_id] for type_id, _, _ in section.members]
        return {v.name: (offsets[v.name], self._dtype(v.size)) for v in variables if v.name in offsets}

    def _parse(self, raw: bytes, at: int, end: int) -> None:
        while at < end:
            name, info, size = struct.unpack_from("<3I", raw, at)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            at += 12
            width = PER_MEMBER.get(kind, 0)
            layout = "<3I" if width == 12 else "<2I"
            members = tuple(
                (*struct.unpack_from(layout, raw, at + i * width), 0)[:3] for i in range(count if width else 0)
            )
            at += width * len(members)
            extra = struct.unpack_from(f"<{TRAILING.get(kind, 0) // 4}I", raw, at)
            at += 4 * len(extra)
            self._types.append(Type(kind, self._name(name), bool(info >> 31), size, members, extra))

    def _name(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _dtype(self, type_id: int) -> Dtype:
        if type_id not in self._dtypes:
            self._dtypes[type_id] = self._build(self._types[type_id])
        return self._dtypes[type_id]

    def _build(self, found: Type) -> Dtype:
        if found.kind == TYPEDEF and found.name in BIG_ENDIAN:
            return np.dtype(BIG_ENDIAN[found.name])
        if found.kind in {TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG}:
            return self._dtype(found.size)
        if found.kind == ARRAY:
            return np.dtype((self._dtype(found.extra[0]), (found.extra[2],)))
        if found.kind in {STRUCT, UNION}:
            return self._record(found)
        if found.kind == INT:
            return np.dtype(f"{'i' if found.extra[0] >> 24 & 1 else 'u'}{found.size}")
        if found.kind in {ENUM, ENUM64}:
            return np.dtype(f"u{found.size}")
        if found.kind == PTR:
            return np.dtype("u8")
        raise BpfError(
            f"reading type {found.name!r} of {self._path}", Reason.BAD_OBJECT, detail=f"BTF kind {found.kind}"
        )

    def _record(self, found: Type) -> Dtype:
        fields = self._fields(found, 0)
        return np.dtype(
            {
                "names": [name for name, _, _ in fields],
                "formats": [dtype for _, dtype, _ in fields],
                "offsets": [offset for _, _, offset in fields],
                "itemsize": found.size,
            }
        )

    def _fields(self, found: Type, base: int) -> list[tuple[str, Dtype, int]]:
        fields: list[tuple[str, Dtype, int]] = []
        for name, type_id, word in found.members:
            bits = word >> 24 if found.flag else 0
            offset = base + ((word & 0xFFFFFF) if found.flag else word) // 8
            inner = self._strip(type_id)
            if bits:
                continue
            if not self._name(name) and inner.kind in {STRUCT, UNION}:
                fields.extend(self._fields(inner, offset))
            else:
                fields.append((self._name(name), self._dtype(type_id), offset))
        return fields

    def _strip(self, type_id: int) -> Type:
        found = self._types[type_id]
        while found.kind in {TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG}:
            found = self._types[found.size]
        return found

    def _map(self, variable: Type) -> MapLayout:
        definition = self._strip(variable.size)
        members = {self._name(name): self._strip(type_id) for name, type_id, _ in definition.members}
        numbers = {name: self._number(found) for name, found in members.items() if name not in {"key", "value"}}
        key, value = (self._dtype(members[n].size) if n in members else None for n in ("key", "value"))
        return MapLayout(
            name=variable.name,
            kind=numbers.get("type", 0),
            key=key,
            value=value,
            key_size=key.itemsize if key is not None else numbers.get("key_size", 0),
            value_size=value.itemsize if value is not None else numbers.get("value_size", 0),
            max_entries=numbers.get("max_entries", 0),
            flags=numbers.get("map_flags", 0),
            pinned=bool(numbers.get("pinning", 0)),
        )

    def _number(self, found: Type) -> int:
        """`__uint(name, 5)` is declared as `int (*name)[5]`."""
        target = self._strip(found.size) if found.kind == PTR else found
        return target.extra[2] if target.kind == ARRAY else 0
