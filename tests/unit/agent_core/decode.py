"""Bytes of map entries back into what a test wants to read."""

import numpy as np


def fields(raw, dtype, *names):
    """Some fields of one row as plain numbers."""
    row = np.frombuffer(raw, dtype)[0]
    return tuple(int(row[name]) for name in names)


def address(raw, dtype, name):
    """The bytes of an address field, trailing zeros of `union ip16` left out, dotted."""
    inner, offset = dtype.fields[name][:2]
    cell = raw[offset : offset + inner.itemsize]
    if inner.itemsize == 4 or not any(cell[4:]):
        return ".".join(str(byte) for byte in cell[:4])
    return cell.hex()
