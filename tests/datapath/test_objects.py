"""The committed objects: built from these sources, and with all that user space reads from them."""

import pathlib
import re
import shutil
import struct
import subprocess

import pytest

from seta_agent.bpf.btf import Btf
from seta_agent.bpf.elf import Elf
from tests.datapath.datapath import OBJECTS, PROGRAMS

SOURCES = pathlib.Path(__file__).parents[2] / "bpf"
NAMES = sorted(path.name.removesuffix(".bpf.c") for path in SOURCES.glob("*.bpf.c"))
HEADERS = sorted(path.name for path in SOURCES.glob("lib/*.h"))
ENUMS = ["drop_reason", "metric_reason", "source_file", "direction", "event_type", "event_verdict", "observation_point"]
ENUMS += ["ct_state", "ct_tuple_flag", "ct_entry_flag", "policy_match", "endpoint_flag", "reserved_identity", "family"]
STRUCTS = {"event": 88, "policy_key": 12, "policy_entry": 32, "endpoint_info": 40, "endpoint_key": 20, "ct4_tuple": 14}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The objects built anew, from a copy of the sources in another directory."""
    if not shutil.which("clang-14") or not shutil.which("llvm-strip-14"):
        pytest.skip("rebuilding the objects: clang-14 and llvm-14 are not installed")
    there = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(SOURCES, there / "bpf")
    subprocess.run(["make", "-s", "-C", there / "bpf", f"OUT={there}"], check=True, capture_output=True)
    return there


@pytest.mark.parametrize("name", NAMES)
def test_the_object_is_what_its_sources_make(built: pathlib.Path, name: str):
    fresh, committed = (path / f"{name}.bpf.o" for path in (built, OBJECTS))
    assert fresh.read_bytes() == committed.read_bytes(), "run `make -C bpf` and commit the objects"


def test_no_object_without_a_source():
    assert sorted(path.name.removesuffix(".bpf.o") for path in OBJECTS.glob("*.bpf.o")) == NAMES


@pytest.mark.parametrize("header", HEADERS)
def test_every_header_compiles_alone(built: pathlib.Path, header: str):
    command = ["make", "-s", "-C", built / "bpf", "check-headers", f"HEADERS={built}/bpf/lib/{header}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_objects_need_no_relocation_against_the_kernel(name: str):
    """One CO-RE relocation costs 14 ms at every load, and packet programs need none."""
    header = struct.unpack_from("=HBBIIIIIII", Elf(OBJECTS / f"{name}.bpf.o").section(".BTF.ext"))
    assert (hex(header[0]), header[9]) == ("0xeb9f", 0)  # magic, bytes of CO-RE relocations


@pytest.mark.parametrize("program", PROGRAMS)
def test_words_and_layouts_are_in_the_btf(program: str):
    btf = Btf(OBJECTS / f"{program}.bpf.o")
    assert all(btf.enum(name) for name in ENUMS)
    sizes = {name: btf.dtype(name).itemsize for name in STRUCTS} if program == "from_container" else STRUCTS
    assert sizes == STRUCTS
    assert "cfg" in btf.rodata


def test_one_configuration_for_all():
    fields = {name: Btf(OBJECTS / f"{name}.bpf.o").rodata["cfg"][1] for name in PROGRAMS}
    assert len({str(dtype) for dtype in fields.values()}) == 1


def test_objects_agree_about_the_maps_they_share():
    declared: dict[str, set[str]] = {}  # map -> its descriptions
    for name in NAMES:
        for found in Btf(OBJECTS / f"{name}.bpf.o").maps.values():
            declared.setdefault(found.name, set()).add(str(found))
    assert {name for name, layouts in declared.items() if len(layouts) > 1} == set()


def test_drop_reasons_have_the_fields_numbers():
    reasons = Btf(OBJECTS / "from_container.bpf.o").enum("drop_reason")
    known = {"DROP_INVALID_SOURCE_IP": 132, "DROP_POLICY_DENIED": 133, "DROP_POLICY_DENY": 181}
    assert {name: reasons[name] for name in known} == known
    assert all(re.fullmatch(r"DROP_[A-Z0-9_]+", name) and 130 <= number <= 205 for name, number in reasons.items())


def test_every_source_file_that_drops_has_its_number():
    files = Btf(OBJECTS / "from_container.bpf.o").enum("source_file")
    for path in (*SOURCES.glob("*.bpf.c"), *SOURCES.glob("lib/*.h")):
        text = path.read_text()
        if re.search(r"DROP\(p, DROP_[A-Z]", text):
            expected = "FILE_" + path.name.upper().replace(".", "_")
            assert f"#define THIS_FILE {expected}\n" in text
            assert expected in files
