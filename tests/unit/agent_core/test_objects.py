"""What the shipped objects say about themselves; and files that are no objects."""

import pytest

from seta_agent.bpf.btf import Btf
from seta_agent.bpf.errors import BpfError, Reason, from_errno
from seta_agent.programmer import config, portrange
from tests.unit.agent_core.conftest import OBJECTS

OF_NO_NODE = {"l2_send.bpf.o"}  # sends what it is given, and knows nothing


@pytest.mark.parametrize(
    "path", sorted(path for path in OBJECTS.glob("*.bpf.o") if path.name not in OF_NO_NODE), ids=lambda path: path.name
)
def test_every_object_can_be_configured(path):
    _offset, dtype = Btf(path).rodata["cfg"]
    assert {"node_ip", "router_ip", "nat_port_min", "tunnel", "native_cidr4"} <= set(dtype.names)


def test_maps_of_all_objects_agree():
    seen = {}
    for path in OBJECTS.glob("*.bpf.o"):
        for layout in Btf(path).maps.values():
            assert seen.setdefault(layout.name, layout) == layout
    assert seen["cilium_lxc"].key_size == 20
    assert seen["cilium_policy_maps"].kind == 12
    assert all(layout.pinned for layout in seen.values())


def test_enums_are_read_by_name(btf):
    assert btf.enum("drop_reason")["DROP_POLICY_DENIED"] == 133
    with pytest.raises(BpfError, match="enum no_such_enum"):
        btf.enum("no_such_enum")


def test_structs_that_are_not_there_are_named(btf):
    with pytest.raises(BpfError, match="struct no_such_struct"):
        btf.dtype("no_such_struct")


def test_big_endian_fields_are_plain_numbers(btf):
    dtype = btf.dtype("policy_key")
    assert dtype.fields["dport"][0] == ">u2"
    assert dtype.itemsize == 12


@pytest.mark.parametrize("content", [b"", b"no object", b"\x7fELF\x02\x01" + bytes(58)])
def test_a_file_that_is_no_object_gives_one_sentence(tmp_path, content):
    path = tmp_path / "x.bpf.o"
    path.write_bytes(content)
    with pytest.raises(BpfError, match=r"x\.bpf\.o") as caught:
        Btf(path)
    assert caught.value.reason is Reason.BAD_OBJECT


def test_errors_say_whether_to_try_again():
    assert from_errno("writing", 67).reason is Reason.SEVERED
    assert from_errno("writing", 67).reason.retry
    assert not from_errno("writing", 1).reason.retry
    assert "524" not in str(from_errno("running", 524))
    assert from_errno("writing", 99999).reason is Reason.OTHER


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("32768\t60999", (61000, 65535)),
        ("32768 65535", (1024, 29999)),
        ("1024 65535", (61000, 65535)),
        ("10000 64000", (1024, 9999)),
    ],
)
def test_masquerading_takes_ports_that_nobody_else_uses(tmp_path, local, expected):
    directory = tmp_path / "net/ipv4"
    directory.mkdir(parents=True)
    (directory / "ip_local_port_range").write_text(local)
    assert config.nat_ports(tmp_path, (30000, 32767)) == expected


@pytest.mark.parametrize(
    ("reserved", "after"),
    [
        ("", "30000-32767"),
        ("\n", "30000-32767"),
        ("8080\n", "8080,30000-32767"),
        ("30000-32767\n", "30000-32767"),
        ("20000-65535\n", "20000-65535"),
        ("29999,31000,32768-32769,40000\n", "29999-32769,40000"),
    ],
)
def test_the_kernel_gives_no_node_port_away_and_what_others_reserved_stays(tmp_path, reserved, after):
    file = tmp_path / portrange.NAME
    file.parent.mkdir(parents=True)
    file.write_text(reserved)
    portrange.reserve(tmp_path, 30000, 32767)
    assert file.read_text().strip() == after
