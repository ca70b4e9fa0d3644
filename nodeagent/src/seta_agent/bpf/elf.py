"""Just enough ELF: the sections and symbols of a `.bpf.o` (64 bit, little endian), read by `seta_agent.bpf.btf`.

libbpf reads the file again when it loads it; here only layouts are wanted, before and without loading.
"""

import dataclasses
import pathlib
import struct

from seta_agent.bpf.errors import BpfError, Reason


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    name: str
    kind: int
    offset: int
    size: int
    link: int


class Elf:
    """The bytes of an object file, by section; `BpfError(BAD_OBJECT)` for what is no such file."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        try:
            self._data = path.read_bytes()
            self.sections = self._read_sections()
        except (OSError, struct.error, ValueError, IndexError) as error:
            raise BpfError(f"reading {path}", Reason.BAD_OBJECT, detail=str(error)) from error

    def section(self, name: str) -> bytes:
        """The contents of one section, empty where there is none."""
        for section in self.sections:
            if section.name == name:
                return self._data[section.offset : section.offset + section.size]
        return b""

    def symbols(self, section_name: str) -> dict[str, int]:
        """The symbols that lie in a section: name -> offset in the section."""
        found: dict[str, int] = {}
        wanted = next((i for i, s in enumerate(self.sections) if s.name == section_name), -1)
        for table in (s for s in self.sections if s.kind == 2):
            strings = self.sections[table.link].offset
            for at in range(table.offset, table.offset + table.size, 24):
                name, _info, _other, index, value, _size = struct.unpack_from("<IBBHQQ", self._data, at)
                if index == wanted and name:
                    found[self._string(strings + name)] = value
        return found

    def _read_sections(self) -> list[Section]:
        if self._data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit little-endian ELF file")
        (table,) = struct.unpack_from("<Q", self._data, 40)
        size, count, names = struct.unpack_from("<HHH", self._data, 58)
        rows = [struct.unpack_from("<IIQQQQI", self._data, table + i * size) for i in range(count)]
        strings = rows[names][4]
        return [Section(self._string(strings + row[0]), row[1], row[4], row[5], row[6]) for row in rows]

    def _string(self, at: int) -> str:
        return self._data[at : self._data.index(b"\0", at)].decode()
