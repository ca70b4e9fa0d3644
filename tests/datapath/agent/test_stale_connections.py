"""Entries in the kernel's maps as the datapath writes them: which go with a backend, a service, or their connection."""

import contextlib
import time

import numpy as np
import pytest

from seta_agent.programmer import gc, stale
from seta_agent.tables import Backend, Frontend, Service, ServicePort
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import IP

DNS = ("kube-system", "kube-dns")
FRONT, FIRST, SECOND, CLIENT, NODE = "10.96.0.10", "10.1.2.5", "10.1.2.6", "203.0.113.9", "192.168.50.1"
OUT, IN, SERVICE, FRONT_OF = 0, 1, 4, 5  # flags of keys in the conntrack and NAT maps
ANY, TCP_MAP, NAT = "cilium_ct_any4_global", "cilium_ct4_global", "cilium_snat_v4_external"
TCP, UDP = 6, 17
OLD = time.monotonic_ns() - 3600 * 10**9
QUICK = 0.05  # seconds between sweeps


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stale, "PAUSE_SECONDS", QUICK)


def service(*addresses, protocol="UDP", number=17, **states):
    """`states`: of backends by the last number of their address."""
    backends = tuple(
        Backend(IP(one), 5353, state=states.get(f"_{one.rpartition('.')[2]}", "active")) for one in addresses
    )
    fronts = (Frontend(number, "LoadBalancer", IP(FRONT), 53),)
    return Service(*DNS, (ServicePort("dns", protocol, fronts, backends),))


def put(lab, name, key, **value):
    """Writes an entry; fields with a dot in them are addresses."""
    layout = lab.agent.maps().layout(name)
    arrays = [np.zeros(1, dtype) for dtype in layout]
    for array, fields in zip(arrays, (key, value), strict=True):
        for field, content in fields.items():
            array[field] = int(IP(content)) if isinstance(content, str) else content
    with contextlib.closing(lab.agent.maps().open(name)) as opened:
        opened.update(*arrays)


def tuple_of(source, destination, flags, protocol=UDP):
    """`source` and `destination`: address and port."""
    return {
        "saddr": source[0],
        "sport": source[1],
        "daddr": destination[0],
        "dport": destination[1],
        "nexthdr": protocol,
        "flags": flags,
    }


def connection(lab, sport, flags, *, source=CLIENT, destination=(FRONT, 53), protocol=UDP, **value):
    key = tuple_of((source, sport), destination, flags, protocol)
    lifetime = int(time.monotonic()) + 600
    put(lab, TCP_MAP if protocol == TCP else ANY, key, lifetime=lifetime, **value)


def ports(lab, name):
    """The source ports of the entries that are there."""
    return sorted(lab.agent.dump_map(name)[0]["sport"].tolist())


def backend_ids(lab):
    keys, values = lab.agent.dump_map("cilium_lb4_backends_v3")
    return dict(zip(values["address"].tolist(), keys.tolist(), strict=True))


def id_of(lab, address):
    return backend_ids(lab)[int(IP(address))]


async def set_service(lab, row, owner=DNS):
    if row is None:
        lab.tables.services.delete(owner)
    else:
        lab.tables.services.set(owner, row)
    await lab.applied()


@on_a_node
async def test_connections_to_a_udp_backend_that_left_go_at_once_and_no_others(lab):
    await lab.start()
    await set_service(lab, service(FIRST, SECOND))
    stays, goes = id_of(lab, FIRST), id_of(lab, SECOND)
    connection(lab, 1001, SERVICE, rev_nat_index=17, backend_id=stays)
    connection(lab, 1002, SERVICE, rev_nat_index=17, backend_id=goes)
    connection(lab, 1003, OUT, backend_id=0)
    connection(lab, 1004, IN, destination=(SECOND, 5353))
    await set_service(lab, service(FIRST))
    await lab.until(lambda: ports(lab, ANY) == [1001, 1003, 1004])
    await lab.until(lambda: lab.agent.status()["connections_forgotten"] == 1)


@on_a_node
async def test_a_backend_that_another_service_keeps_leaves_this_one_all_the_same(lab):
    await lab.start()
    await set_service(lab, service(FIRST, SECOND))
    other = Frontend(18, "ClusterIP", IP("10.96.0.11"), 53)
    both = tuple(Backend(IP(one), 5353) for one in (FIRST, SECOND))
    await set_service(lab, Service("ns", "other", (ServicePort("dns", "UDP", (other,), both),)), ("ns", "other"))
    connection(lab, 1001, SERVICE, rev_nat_index=17, backend_id=id_of(lab, SECOND))
    connection(lab, 1002, SERVICE, destination=("10.96.0.11", 53), rev_nat_index=18, backend_id=id_of(lab, SECOND))
    await set_service(lab, service(FIRST))
    await lab.until(lambda: ports(lab, ANY) == [1002])


@on_a_node
async def test_a_terminating_backend_keeps_its_connections(lab):
    await lab.start()
    await set_service(lab, service(FIRST, SECOND))
    connection(lab, 1001, SERVICE, rev_nat_index=17, backend_id=id_of(lab, FIRST))
    connection(lab, 1002, SERVICE, rev_nat_index=17, backend_id=id_of(lab, SECOND))
    connection(lab, 1003, SERVICE, rev_nat_index=17, backend_id=4711)
    await set_service(lab, service(SECOND, _6="terminating"))
    await lab.until(lambda: ports(lab, ANY) == [1002])


@on_a_node
async def test_of_a_removed_service_nothing_is_left_whatever_the_protocol(lab):
    await lab.start()
    await set_service(lab, service(FIRST, protocol="TCP"))
    tcp = {"protocol": TCP, "rev_nat_index": 17}
    connection(lab, 1001, SERVICE, **tcp, backend_id=id_of(lab, FIRST))
    web = Service("ns", "web", (ServicePort("web", "UDP", (Frontend(18, "ClusterIP", IP("10.96.0.11"), 53),), ()),))
    await set_service(lab, web, ("ns", "web"))
    connection(lab, 1002, OUT, **tcp)
    await set_service(lab, None)
    lab.agent._stale._backends.left = True
    await lab.applied()
    await lab.until(lambda: ports(lab, TCP_MAP) == [1002])


@on_a_node
async def test_a_tcp_backend_that_left_keeps_its_connections_while_its_pod_is_known(lab):
    await lab.start()
    await set_service(lab, service(FIRST, SECOND, protocol="TCP"))
    other = Frontend(18, "ClusterIP", IP("10.96.0.11"), 53)
    rest = (ServicePort("dns", "TCP", (other,), (Backend(IP(SECOND), 5353),)),)
    await set_service(lab, Service("ns", "other", rest), ("ns", "other"))
    connection(lab, 1001, SERVICE, protocol=TCP, rev_nat_index=17, backend_id=id_of(lab, SECOND))
    connection(lab, 1002, SERVICE, protocol=TCP, rev_nat_index=17, backend_id=4711)
    await set_service(lab, service(FIRST, protocol="TCP"))
    lab.agent._stale._backends.left = True
    await lab.applied()
    await lab.until(lambda: ports(lab, TCP_MAP) == [1001])


@on_a_node
async def test_a_client_keeps_its_backend_only_while_its_service_has_it(lab):
    await lab.start()
    sticky = {"affinity_seconds": 10800}
    row = service(FIRST, SECOND)
    await set_service(lab, Service(row.namespace, row.name, row.ports, **sticky))
    first, second = id_of(lab, FIRST), id_of(lab, SECOND)
    for client, number, backend in ((1, 17, first), (2, 17, second), (3, 18, first)):
        put(lab, "cilium_lb4_affinity", {"client_id": client, "rev_nat_id": number}, backend_id=backend)
    row = service(FIRST)
    await set_service(lab, Service(row.namespace, row.name, row.ports, **sticky))
    assert gc.collect(lab.agent.maps())["cilium_lb4_affinity"] == 2
    keys, _ = lab.agent.dump_map("cilium_lb4_affinity")
    assert keys["client_id"].tolist() == [1]


@on_a_node
async def test_translations_go_with_their_connection_whatever_their_kind(lab):
    await lab.start()
    await set_service(lab, service(FIRST))
    pod, world = "10.1.1.5", "198.51.100.7"
    connection(lab, 2001, OUT, source=pod, destination=(world, 443))
    connection(lab, 2002, SERVICE, rev_nat_index=17, backend_id=id_of(lab, FIRST))
    connection(lab, 2003, IN, destination=(FIRST, 5353))
    connection(lab, 2004, OUT, source=pod, destination=(FIRST, 5353))
    to_node = {"created": OLD, "to_addr": NODE, "to_port": 61000}
    for alive, number in ((True, 0), (False, 100)):
        ours, theirs = 2001 + number, 2002 + number
        put(lab, NAT, tuple_of((pod, ours), (world, 443), OUT), **to_node)
        put(lab, NAT, tuple_of((world, 443), (NODE, 61000 + alive), IN), created=OLD, to_addr=pod, to_port=ours)
        put(lab, NAT, tuple_of((CLIENT, theirs), (FRONT, 53), SERVICE), **to_node)
        answer = {"created": OLD, "to_addr": CLIENT, "to_port": theirs, "rev_nat_index": 17}
        put(lab, NAT, tuple_of((FIRST, 5353), (NODE, 62000 + alive), IN), **answer)
        front = {"created": OLD, "to_addr": FRONT, "to_port": 53}
        put(lab, NAT, tuple_of((FIRST, 5353), (CLIENT, 2003 + number), FRONT_OF), **front)
        put(lab, NAT, tuple_of((FIRST, 5353), (pod, 2004 + number), FRONT_OF), **front)
    unknown = {"created": OLD, "to_addr": CLIENT, "to_port": 2002, "rev_nat_index": 99}
    put(lab, NAT, tuple_of((FIRST, 5353), (NODE, 63000), IN), **unknown)
    put(lab, NAT, tuple_of((pod, 3000), (world, 443), OUT), created=time.monotonic_ns(), to_addr=NODE, to_port=61009)
    assert gc.collect(lab.agent.maps())[NAT] == 7
    keys, _ = lab.agent.dump_map(NAT)
    left = sorted(zip(keys["flags"].tolist(), keys["sport"].tolist(), keys["dport"].tolist(), strict=True))
    assert left == [
        (OUT, 2001, 443),
        (OUT, 3000, 443),
        (IN, 443, 61001),
        (IN, 5353, 62001),
        (SERVICE, 2002, 53),
        (FRONT_OF, 5353, 2003),
        (FRONT_OF, 5353, 2004),
    ]


@on_a_node
async def test_policy_judges_no_connection_to_a_frontend(lab):
    await lab.start(enable_policy="always")
    await set_service(lab, service(FIRST))
    await lab.add_pod(5)
    number = id_of(lab, FIRST)
    connection(lab, 1001, SERVICE, source="10.1.1.5", rev_nat_index=17, backend_id=number)
    connection(lab, 1002, OUT, source="10.1.1.5", destination=(FIRST, 5353))
    lab.agent.upkeep.judge()
    await lab.until(lambda: lab.agent.status()["connections_judged_anew"])
    keys, values = lab.agent.dump_map(ANY)
    denied = dict(zip(keys["sport"].tolist(), (values["flags"] & 0x8).tolist(), strict=True))
    assert denied == {1001: 0, 1002: 0x8}
