"""Layouts of the shipped objects (no kernel needed), and short ways to write rows."""

import pathlib

import pytest

import seta_agent
from seta_agent.bpf.btf import Btf

OBJECTS = pathlib.Path(seta_agent.__file__).parent / "objects"


@pytest.fixture(scope="session")
def btf():
    return Btf(OBJECTS / "from_container.bpf.o")


@pytest.fixture(scope="session")
def layouts():
    """By map name, the dtypes of key and value."""
    found = {}
    for path in OBJECTS.glob("*.bpf.o"):
        for layout in Btf(path).maps.values():
            if layout.key is not None and layout.value is not None:
                found[layout.name] = (layout.key, layout.value)
    return found
