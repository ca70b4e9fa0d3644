"""Service tables in, entries of the LB maps out."""

import ipaddress

import numpy as np
import pytest

from seta_agent.desired import lb, lbids
from seta_agent.desired.lbnode import NodeView
from seta_agent.tables import Backend, Frontend, Service, ServicePort
from tests.unit.agent_core import decode

IP = ipaddress.ip_address
OWNER = ("default", "web")
SERVICES, BACKENDS, REVERSE = "cilium_lb4_services_v2", "cilium_lb4_backends_v3", "cilium_lb4_reverse_nat"


VIEW = NodeView("n1", addresses=(IP("192.168.10.101"),))


def contributions(services, layouts, ids=None):
    found = lb.contributions(services, VIEW, ids or lbids.BackendIds(), lbids.FrontendIds(), layouts)
    return found.entries


def service(*backends, address="10.96.0.10", kind="ClusterIP"):
    frontend = Frontend(17, kind, IP(address), 80)
    return Service(*OWNER, (ServicePort("http", "TCP", (frontend,), backends),))


def backend(address, state="active"):
    return Backend(IP(address), 8080, state=state)


def slots(result, layouts, name=SERVICES):
    key, value = layouts[name]
    return sorted(
        decode.fields(k, key, "dport", "backend_slot", "proto") + decode.fields(v, value, "backend_id", "count")
        for k, v in result[name][OWNER].items()
    )


def test_a_service_has_a_front_and_a_slot_per_backend(layouts):
    result = contributions([(OWNER, service(backend("10.0.1.5"), backend("10.0.2.5")))], layouts)
    assert slots(result, layouts) == [(80, 0, 6, 0, 2), (80, 1, 6, 1, 0), (80, 2, 6, 2, 0)]
    value = layouts[BACKENDS][1]
    found = {int.from_bytes(k, "little"): v for k, v in result[BACKENDS][OWNER].items()}
    assert decode.address(found[1], value, "address") == "10.0.1.5"
    assert decode.fields(found[2], value, "port", "proto", "flags") == (8080, 6, 0)
    (reverse,) = result[REVERSE][OWNER].items()
    assert reverse[0] == (17).to_bytes(2, "big")
    assert decode.address(reverse[1], layouts[REVERSE][1], "address") == "10.96.0.10"


def test_a_service_without_backends_keeps_its_front(layouts):
    result = contributions([(OWNER, service())], layouts)
    assert slots(result, layouts) == [(80, 0, 6, 0, 0)]


def test_a_deleted_service_contributes_nothing(layouts):
    result = contributions([(OWNER, None)], layouts)
    assert all(by_owner == {OWNER: {}} for by_owner in result.values())


@pytest.mark.parametrize(
    ("states", "used"),
    [
        (("active", "terminating"), (1, 1)),
        (("terminating", "terminating"), (2, 0)),
        (("terminating-not-serving",), (0, 1)),
        (("quarantined", "active"), (1, 1)),
        (("maintenance",), (0, 1)),
    ],
)
def test_terminating_backends_are_used_only_when_no_other_is_left(layouts, states, used):
    backends = [backend(f"10.0.1.{i}", state) for i, state in enumerate(states, 1)]
    result = contributions([(OWNER, service(*backends))], layouts)
    key, value = layouts[SERVICES]
    front = next(v for k, v in result[SERVICES][OWNER].items() if decode.fields(k, key, "backend_slot") == (0,))
    assert decode.fields(front, value, "count", "qcount") == used
    assert len(result[SERVICES][OWNER]) == 1 + len(states)
    assert len(result[BACKENDS][OWNER]) == len(states)


def test_ipv6_goes_into_its_own_maps(layouts):
    one = service(backend("fd00::5"), address="fd00:96::a")
    result = contributions([(OWNER, one)], layouts)
    assert result[SERVICES] == {OWNER: {}}
    assert len(result["cilium_lb6_services_v2"][OWNER]) == 2
    (raw,) = result["cilium_lb6_backends_v3"][OWNER].values()
    assert decode.address(raw, layouts["cilium_lb6_backends_v3"][1], "address") == IP("fd00::5").packed.hex()


def test_flags_come_from_the_type(layouts):
    one = service(kind="NodePort")
    result = contributions([(OWNER, one)], layouts)
    (raw,) = result[SERVICES][OWNER].values()
    assert decode.fields(raw, layouts[SERVICES][1], "flags", "flags2") == (0x2 | 0x40, 0)


def test_many_at_once_are_the_same_as_one_by_one(layouts):
    owners = [("ns", str(i)) for i in range(50)]
    many = [(owner, service(backend(f"10.0.0.{i}"), backend("10.0.9.9"))) for i, owner in enumerate(owners)]
    ids = lbids.BackendIds()
    at_once = contributions(many, layouts, ids)
    for owner, one in many:
        alone = contributions([(owner, one)], layouts, ids)
        assert all(alone[name][owner] == at_once[name][owner] for name in at_once)


def test_backends_keep_the_ids_that_the_kernel_knows():
    ids = lbids.BackendIds()
    known = (IP("10.0.1.5"), 8080, 6)
    ids.restore({7: known})
    assert ids.take(known) == 7
    assert ids.take((IP("10.0.1.6"), 8080, 6)) == 8


def test_released_ids_are_not_given_again_at_once():
    ids = lbids.BackendIds()
    first = ids.take((IP("10.0.1.5"), 80, 6))
    ids.release(first)
    assert ids.take((IP("10.0.1.6"), 80, 6)) != first
    assert ids.take((IP("10.0.1.5"), 80, 6)) != first


def test_ids_wrap_around_and_skip_those_in_use():
    ids = lbids.BackendIds()
    ids.restore({0xFFFFFFFF: (IP("10.0.1.5"), 80, 6), 1: (IP("10.0.1.6"), 80, 6)})
    assert ids.take((IP("10.0.1.7"), 80, 6)) == 2


def test_addresses_are_read_back(layouts):
    for name, text in ((BACKENDS, "10.0.1.5"), ("cilium_lb6_backends_v3", "fd00::5")):
        one = service(backend(text), address="10.96.0.1" if "." in text else "fd00:96::1")
        raw = b"".join(contributions([(OWNER, one)], layouts)[name][OWNER].values())
        assert lb.addresses(np.frombuffer(raw, layouts[name][1])) == [IP(text)]
