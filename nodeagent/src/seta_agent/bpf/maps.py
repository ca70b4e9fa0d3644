"""A map as arrays: keys and values of the BTF's dtypes, read and written in batches.

Called by the programmer's reconciler, the API's dumps and the tests. One call moves thousands of entries without one
Python object per entry (bulk rates on the development machine: 1.4-4 M entries/s against 0.3 M/s one by one).
"""

import ctypes
import os
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from seta_agent.bpf import syscall
from seta_agent.bpf.btf import Dtype
from seta_agent.bpf.errors import BpfError, Reason

Array = np.ndarray[Any, np.dtype[Any]]
BATCH = 16384  # entries per call when reading: the buffer is the cost


def possible_cpus() -> int:
    """How many values an entry of a per-CPU map has."""
    text = pathlib.Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    return int(text.strip().split(",")[-1].split("-")[-1]) + 1


class Map:
    """An open map; owns its descriptor. `key` and `value`: dtypes of one entry (per-CPU maps: of one CPU)."""

    def __init__(self, fd: int, key: Dtype | None = None, value: Dtype | None = None) -> None:
        self.fd = fd
        self.info = syscall.map_info(fd)
        self.key = key if key is not None else np.dtype(("V", self.info.key_size))
        self.value = value if value is not None else np.dtype(("V", self.info.value_size))
        if self.key.itemsize != self.info.key_size or self.value.itemsize != self.info.value_size:
            raise BpfError(f"opening the map {self.info.name}", Reason.MISMATCH)
        self._cell = self._cell_dtype()

    @classmethod
    def pinned(cls, path: pathlib.Path, key: Dtype | None = None, value: Dtype | None = None) -> "Map":
        fd = syscall.get(path)
        try:
            return cls(fd, key, value)
        except BpfError:
            os.close(fd)
            raise

    @classmethod
    def by_id(cls, number: int, key: Dtype | None = None, value: Dtype | None = None) -> "Map":
        """An inner map, as a map of maps names it. `BpfError(NOT_FOUND)` where it is gone by now."""
        fd = syscall.map_by_id(number)
        try:
            return cls(fd, key, value)
        except BpfError:
            os.close(fd)
            raise

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def dump(self) -> tuple[Array, Array]:
        """Every entry: keys (n,) and values (n,), of a per-CPU map (n, cpus). Not a snapshot of one instant."""
        keys, values = bytearray(), bytearray()
        for some_keys, some_values in self.batches():  # as bytes: np.concatenate swaps the bytes of unions
            keys += some_keys.tobytes()
            values += some_values.tobytes()
        return np.frombuffer(keys, self.key), np.frombuffer(values, self._cell)

    def batches(self) -> Iterator[tuple[Array, Array]]:
        """The same in pieces, for maps of which a copy in one piece would cost too much memory."""
        token = ctypes.create_string_buffer(max(self.info.key_size, 8))
        size, first, done = min(BATCH, max(self.info.max_entries, 1)), True, False
        while not done:
            keys, values = np.empty(size, self.key), np.empty(size, self._cell)
            try:
                count = self._batch(syscall.LOOKUP_BATCH, keys, values, size, token, first=first)
            except _PartialBatchError as partial:
                if partial.error.reason is Reason.FULL:  # a hash bucket holds more than the buffer
                    size *= 2
                    continue
                if partial.error.reason is not Reason.NOT_FOUND:
                    raise partial.error from None
                count, done = partial.count, True
            first = False
            if count:
                yield keys[:count], values[:count]

    def update(self, keys: Array, values: Array) -> None:
        """Write entries; `BpfError(FULL)` where the map has no room (some of them may be in by then)."""
        keys, values = np.ascontiguousarray(keys), np.ascontiguousarray(values)
        if len(keys):
            try:
                self._batch(syscall.UPDATE_BATCH, keys, values, len(keys), None)
            except _PartialBatchError as partial:
                raise partial.error from None

    def delete(self, keys: Array) -> None:
        """Delete entries; those that are not there are none of our business."""
        keys = np.ascontiguousarray(keys)
        while len(keys):
            try:
                done = self._batch(syscall.DELETE_BATCH, keys, None, len(keys), None)
            except _PartialBatchError as partial:
                if partial.error.reason is not Reason.NOT_FOUND:
                    raise partial.error from None
                done = partial.count + 1
            keys = np.ascontiguousarray(keys[done:])

    def lookup(self, key: bytes) -> bytes | None:
        return syscall.map_lookup(self.fd, key, self._cell.itemsize)

    def set(self, key: bytes, value: bytes) -> None:
        syscall.map_update(self.fd, key, value)

    def remove(self, key: bytes) -> bool:
        return syscall.map_delete(self.fd, key)

    def _cell_dtype(self) -> Dtype:
        if self.info.kind not in syscall.PERCPU_KINDS:
            return self.value
        if self.value.itemsize % 8:
            raise BpfError(f"opening the map {self.info.name}: per-CPU values are not whole words", Reason.MISMATCH)
        return np.dtype((self.value, (possible_cpus(),)))

    def _batch(
        self, command: int, keys: Array, values: Array | None, count: int, token: Any, *, first: bool = False
    ) -> int:
        at = ctypes.addressof(token) if token is not None else 0
        where = values.ctypes.data if values is not None else 0
        attributes = struct.pack("=QQQQIIQQ", 0 if first else at, at, keys.ctypes.data, where, count, self.fd, 0, 0)
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        try:
            syscall.bpf_in_place(command, buffer, f"moving entries of the map {self.info.name}")
        except BpfError as error:
            raise _PartialBatchError(error, struct.unpack_from("=I", buffer.raw, 32)[0]) from None
        return int(struct.unpack_from("=I", buffer.raw, 32)[0])


class _PartialBatchError(Exception):
    """A batch that stopped early, after `count` entries."""

    def __init__(self, error: BpfError, count: int) -> None:
        self.error = error
        self.count = count
        super().__init__(str(error))
