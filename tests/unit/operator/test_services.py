"""Services and EndpointSlices in, ServiceTables out; a frontend keeps its number."""

from typing import Any

import pytest

from seta_crds import names
from seta_operator.services import frontends
from seta_operator.services.tables import Tables
from seta_operator.store import facts
from tests.unit.operator.fakes import Bench, settle


def backend(address: str = "10.0.1.5", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({}, "active"),
        ({"ready": True}, "active"),
        ({"ready": False}, None),
        ({"ready": False, "serving": True}, None),
        ({"ready": True, "terminating": False}, "active"),
        ({"ready": False, "serving": True, "terminating": True}, "terminating"),
        ({"ready": False, "serving": False, "terminating": True}, "terminating-not-serving"),
        ({"ready": False, "terminating": True}, "terminating-not-serving"),
        ({"ready": True, "terminating": True}, "terminating"),
    ],
)
def test_states(conditions: dict[str, bool], state: str | None) -> None:
    body = {
        "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [backend(**conditions)],
    }
    port = facts.ServicePort("http", "TCP", 80)
    found = frontends.backends(port, [facts.endpoint_slice(body)])
    assert [one["state"] for one in found] == ([state] if state else [])


def test_ports_go_together_by_name_and_protocol() -> None:
    body = {
        "metadata": {},
        "ports": [
            {"name": "a", "port": 1},
            {"name": "a", "port": 2, "protocol": "UDP"},
            {"name": "b", "port": 3},
            {"name": "c"},
        ],
        "endpoints": [backend()],
    }
    piece = facts.endpoint_slice(body)
    for name, protocol, port in (("a", "TCP", 1), ("a", "UDP", 2), ("b", "TCP", 3)):
        assert [one["port"] for one in frontends.backends(facts.ServicePort(name, protocol, 80), [piece])] == [port]
    assert frontends.backends(facts.ServicePort("c", "TCP", 80), [piece]) == []


def service(bench: Bench, name: str, *ports: int, address: str = "10.96.0.1", **spec: Any) -> None:
    listed = [{"name": f"p{port}", "port": port} for port in ports]
    bench.seen(names.SERVICE, name, "ns", spec={"clusterIP": address, "clusterIPs": [address], "ports": listed, **spec})


def ids(bench: Bench) -> dict[str, int]:
    return {
        f"{front['address']}:{front['port']}": front["id"]
        for body in bench.api.of(names.SERVICE_TABLE).values()
        for port in body["spec"]["ports"]
        for front in port["frontends"]
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None", "clusterIPs": ["None"]},
        {"clusterIP": "", "clusterIPs": []},
        {"type": "ExternalName"},
    ],
)
async def test_no_table(spec: dict[str, Any]) -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    service(bench, "web", 80, **spec)
    await settle(subject)
    assert bench.api.of(names.SERVICE_TABLE) == {}


async def test_numbers_stay_with_frontends() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    service(bench, "a", 80, 81, address="10.96.0.1")
    service(bench, "b", 80, address="10.96.0.2")
    await settle(subject)
    assert ids(bench) == {"10.96.0.1:80": 1, "10.96.0.1:81": 2, "10.96.0.2:80": 3}
    service(bench, "a", 81, 82, address="10.96.0.1")
    await settle(subject)
    assert ids(bench) == {"10.96.0.1:81": 2, "10.96.0.1:82": 4, "10.96.0.2:80": 3}


async def test_a_frontend_that_moves_to_another_service_keeps_its_number() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    service(bench, "a", 80)
    await settle(subject)
    bench.gone(names.SERVICE, "a", "ns")
    service(bench, "b", 80)
    await settle(subject)
    assert (ids(bench), bench.api.of(names.SERVICE_TABLE).keys()) == ({"10.96.0.1:80": 1}, {"b"})


async def test_numbers_are_read_back_after_a_restart() -> None:
    bench = Bench()
    first = Tables(bench.cluster, bench.writer)
    service(bench, "a", 80, address="10.96.0.1")
    service(bench, "b", 80, address="10.96.0.2")
    await settle(first)
    bench.gone(names.SERVICE, "a", "ns")
    bench.api.calls.clear()
    second = Tables(bench.cluster, bench.writer)
    service(bench, "c", 80, address="10.96.0.3")
    second.start()
    await settle(second)
    assert ids(bench) == {"10.96.0.2:80": 2, "10.96.0.3:80": 3}
    assert ("update", "ServiceTable", "b") not in bench.api.calls


async def test_endpoints_come_and_go() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    service(bench, "web", 80)
    label = {"labels": {"kubernetes.io/service-name": "web"}}
    ports = [{"name": "p80", "port": 8080}]
    bench.seen(names.ENDPOINT_SLICE, "web-1", "ns", metadata=label, ports=ports, endpoints=[backend("10.0.1.5")])
    bench.seen(names.ENDPOINT_SLICE, "web-2", "ns", metadata=label, ports=ports, endpoints=[backend("10.0.1.6")])
    await settle(subject)
    assert addresses(bench) == ["10.0.1.5", "10.0.1.6"]
    bench.gone(names.ENDPOINT_SLICE, "web-1", "ns")
    await settle(subject)
    assert addresses(bench) == ["10.0.1.6"]
    bench.api.calls.clear()
    bench.seen(names.ENDPOINT_SLICE, "web-2", "ns", metadata=label, ports=ports, endpoints=[backend("10.0.1.6")])
    await settle(subject)
    assert bench.api.calls == [], "the same again"


def addresses(bench: Bench) -> list[str]:
    table = bench.api.of(names.SERVICE_TABLE)["web"]
    return [one["address"] for one in table["spec"]["ports"][0]["backends"]]


async def test_dual_stack_has_a_frontend_and_backends_of_each_family() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    service(bench, "web", 80, clusterIPs=["10.96.0.1", "fd00::1"])
    await settle(subject)
    assert ids(bench) == {"10.96.0.1:80": 1, "fd00::1:80": 2}
