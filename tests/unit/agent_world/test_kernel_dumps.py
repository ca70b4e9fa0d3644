"""Map contents in, as arrays of the shipped objects' layouts; the API's JSON and the field's strings out."""

import ipaddress
import pathlib
import time

import numpy as np
import pytest

import seta_agent
from seta_agent.api import connections, lbdumps, mapstrings, values
from seta_agent.bpf.btf import Btf

OBJECTS = pathlib.Path(seta_agent.__file__).parent / "objects"


@pytest.fixture(scope="module")
def layouts():
    """Map name -> its layout, of the programs for sockets and for the node's devices."""
    return {**Btf(OBJECTS / "from_netdev.bpf.o").maps, **Btf(OBJECTS / "sock.bpf.o").maps}


@pytest.fixture(scope="module")
def entry(layouts):
    def entry(name, key, value):
        """One entry of a map: fields as a dict, or a plain number."""
        arrays = np.zeros(1, layouts[name].key), np.zeros(1, layouts[name].value)
        for array, content in zip(arrays, (key, value), strict=True):
            if not isinstance(content, dict):
                array[0] = content
                continue
            for field, what in content.items():
                if isinstance(what, bytes):
                    array[field].view(np.uint8)[:] = np.frombuffer(what, np.uint8)
                else:
                    array[field] = what
        return arrays

    return entry


@pytest.fixture
def dump(layouts, entry):
    """A kernel whose maps hold what `dump.put(...)` put there."""
    held: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def dump(name):
        return held.get(name, (np.zeros(0, layouts[name].key), np.zeros(0, layouts[name].value)))

    def put(name, key, value):
        before, added = dump(name), entry(name, key, value)
        held[name] = tuple(
            np.frombuffer(one.tobytes() + other.tobytes(), one.dtype) for one, other in zip(before, added, strict=True)
        )

    dump.put = put
    return dump


def ip(text):
    """As a field of the layouts takes it."""
    address = ipaddress.ip_address(text)
    return int(address) if address.version == 4 else address.packed


@pytest.mark.parametrize(
    ("flags", "slot", "shown"),
    [
        (0, 0, "ClusterIP, non-routable"),
        (0x40, 0, "ClusterIP"),
        (0x42, 0, "NodePort"),
        (0x41 | 0x4 | 0x10, 0, "ExternalIPs, Local, sessionAffinity"),
        (0x60 | 0x1000 | 0x2000, 0, "LoadBalancer, InternalLocal, two-scopes"),
        (0x60 | 0x80, 0, "LoadBalancer, check source-range"),
        (0x60 | 0x80 | 0x4000 | 0x8000, 0, "LoadBalancer, check source-range, deny, dsr"),
        (0x48 | 0x400 | 0x800, 0, "HostPort, l7-load-balancer, loopback"),
        (0x4000, 2, "ClusterIP, non-routable, quarantined"),
        (0x100 | 0x10, 0, "LocalRedirect, sessionAffinity, non-routable"),
    ],
)
def test_flags_are_words_in_the_fields_order(flags, slot, shown):
    assert values.service_type(flags, slot) == shown


def test_slot_0_says_how_the_service_chooses_and_the_others_name_a_backend(dump):
    key = {"address": ip("10.96.0.10"), "dport": 80, "proto": 6}
    master = {"backend_id": 2 << 24 | 10800, "count": 1, "qcount": 1, "rev_nat_index": 17, "flags": 0x10}
    dump.put("cilium_lb4_services_v2", key, master)
    dump.put("cilium_lb4_services_v2", {**key, "backend_slot": 1}, {"backend_id": 3, "rev_nat_index": 17})
    first, second = lbdumps.lb(dump)["services"]
    assert (first["algorithm"], first["affinity_seconds"], first["count"], first["qcount"]) == ("maglev", 10800, 1, 1)
    assert (second["backend_id"], second["slot"], "algorithm" in second) == (3, 1, False)


def test_backends_and_source_ranges_of_both_families_are_listed(dump):
    backend = {"address": ip("10.0.1.5"), "port": 8080, "proto": 17, "flags": 4}
    dump.put("cilium_lb4_backends_v3", 3, backend)
    dump.put("cilium_lb6_backends_v3", 4, {**backend, "address": ip("fd00::5"), "flags": 0})
    dump.put("cilium_lb4_source_range", {"prefixlen": 56, "rev_nat_id": 17, "addr": ip("203.0.113.0")}, 1)
    dump.put("cilium_lb6_source_range", {"prefixlen": 96, "rev_nat_id": 9, "addr": ip("2001:db8::")}, 1)
    shown = lbdumps.lb(dump)
    assert [(one["id"], one["address"], one["protocol"], one["state"]) for one in shown["backends"]] == [
        (3, "10.0.1.5", "UDP", "terminating-not-serving"),
        (4, "fd00::5", "UDP", "active"),
    ]
    assert shown["source_ranges"] == [{"id": 9, "range": "2001:db8::/64"}, {"id": 17, "range": "203.0.113.0/24"}]


def test_a_maglev_table_is_told_by_its_backends_shares_and_one_alone_whole():
    ours = {"cilium_lb4_maglev": [(17, [3, 4, 3])], "cilium_lb6_maglev": [(18, [5])]}

    def tables(name):
        return [(number, np.array(words, np.uint32)) for number, words in ours[name]]

    assert lbdumps.maglev(tables) == [
        {"id": 17, "entries": 3, "backends": [{"id": 3, "entries": 2}, {"id": 4, "entries": 1}]},
        {"id": 18, "entries": 1, "backends": [{"id": 5, "entries": 1}]},
    ]
    assert [lbdumps.maglev_table(tables, number) for number in (17, 18, 19)] == [[3, 4, 3], [5], None]


FRONT4 = {"address": ip("10.96.0.10"), "dport": 80, "proto": 6, "scope": 1, "backend_slot": 2}
SERVICE = {"backend_id": 3, "count": 2, "qcount": 1, "rev_nat_index": 17, "flags": 0x10, "flags2": 0x20}
COOKIE6 = (4711).to_bytes(8, "little") + bytes(8)
STRINGS = [  # map, key, value, the key's string, the value's
    ("cilium_lb4_services_v2", FRONT4, SERVICE, "10.96.0.10:80/TCP/i (2)", "3 2[1] (17) [0x10 0x20]"),
    (
        "cilium_lb6_services_v2",
        {**FRONT4, "address": ip("::"), "scope": 0, "backend_slot": 0},
        SERVICE,
        "[::]:80/TCP (0)",
        "3 2[1] (17) [0x10 0x20]",
    ),
    ("cilium_lb4_backends_v3", 3, {"address": ip("10.0.1.5"), "port": 80, "proto": 17}, "3", "udp://10.0.1.5:80[0]"),
    ("cilium_lb4_reverse_nat", 17, {"address": ip("10.96.0.10"), "port": 80}, "17", "10.96.0.10:80"),
    (
        "cilium_lb4_reverse_sk",
        {"cookie": 99, "address": ip("10.0.1.5"), "port": 8080},
        {"address": ip("10.96.0.10"), "port": 80, "rev_nat_index": 17},
        "[10.0.1.5]:8080, 99",
        "[10.96.0.10]:80, 17",
    ),
    (
        "cilium_lb4_affinity",
        {"client_id": int.from_bytes(bytes([203, 0, 113, 9]), "little"), "rev_nat_id": 17},
        {"backend_id": 3, "last_used": 1000},
        "203.0.113.9 0 17",
        "3 1000",
    ),
    ("cilium_lb4_affinity", {"client_id": 4711, "netns": 1, "rev_nat_id": 17}, {"backend_id": 3}, "4711 1 17", "3 0"),
    ("cilium_lb6_affinity", {"client_id": ip("fd00::9"), "rev_nat_id": 17}, {}, "fd00::9 0 17", "0 0"),
    ("cilium_lb6_affinity", {"client_id": COOKIE6, "netns": 1, "rev_nat_id": 17}, {}, "4711 1 17", "0 0"),
    ("cilium_lb_affinity_match", {"backend_id": 3, "rev_nat_id": 17}, 1, "3 17", "1"),
    (
        "cilium_lb4_source_range",
        {"prefixlen": 56, "rev_nat_id": 17, "addr": ip("203.0.113.0")},
        1,
        "203.0.113.0/24 (17)",
        "1",
    ),
    ("cilium_lb6_source_range", {"prefixlen": 32, "rev_nat_id": 17, "addr": ip("::")}, 1, "::/0 (17)", "1"),
    ("seta_sock_optout", 4711, 1, "4711", "1"),
]


@pytest.mark.parametrize("case", STRINGS, ids=[f"{one[0]} {one[3]}" for one in STRINGS])
def test_entries_have_the_fields_strings(entry, case):
    name, key, value, key_string, value_string = case
    assert mapstrings.entries(name, *entry(name, key, value)) == [
        {"key": key_string, "value": value_string, "state": "sync", "error": ""}
    ]


TUPLE = {"saddr": ip("10.0.1.5"), "sport": 4242, "daddr": ip("10.96.0.10"), "dport": 80, "nexthdr": 6}


def test_connections_that_are_over_are_not_shown_and_services_own_are_marked(dump):
    now = int(time.monotonic())
    dump.put("cilium_ct4_global", {**TUPLE, "flags": 0}, {"lifetime": now - 1})
    dump.put("cilium_ct4_global", {**TUPLE, "flags": 4}, {"lifetime": now + 60, "flags": 0x45, "backend_id": 3})
    (found,) = connections.ct(dump)
    assert (found["source"], found["destination"], found["direction"]) == ("10.0.1.5:4242", "10.96.0.10:80", "OUT")
    assert (found["service"], found["backend_id"], found["flag_names"]) == (True, 3, ["RxClosing", "SeenNonSyn", "DSR"])


@pytest.mark.parametrize(
    ("flags", "direction", "service", "translated"),
    [
        (0, "OUT", False, "source"),
        (1, "IN", False, "destination"),
        (4, "OUT", True, "source"),
        (5, "IN", True, "source"),
    ],
)
def test_a_translation_says_what_comes_of_the_packet_and_how_old_it_is(dump, flags, direction, service, translated):
    value = {"created": time.monotonic_ns() - 12 * 10**9, "to_addr": ip("10.0.1.5"), "to_port": 4242}
    dump.put("cilium_snat_v4_external", {**TUPLE, "flags": flags}, value)
    (found,) = connections.nat(dump)
    assert (found["direction"], found["service"], found["translated"]) == (direction, service, translated)
    assert (found["to"], found["age"]) == ("10.0.1.5:4242", 12)
