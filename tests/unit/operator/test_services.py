"""Services and EndpointSlices in, ServiceTables out; a frontend keeps its number."""

from typing import Any

import pytest

from seta_crds import names
from seta_operator.services import backends, claims, frontends
from seta_operator.services.tables import Tables
from seta_operator.store import errors, facts
from tests.unit.operator.fakes import Bench, settle


def backend(address: str = "10.0.1.5", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({}, "active"),
        ({"ready": True}, "active"),
        ({"ready": False}, "quarantined"),
        ({"ready": False, "serving": True}, "quarantined"),
        ({"ready": True, "terminating": False}, "active"),
        ({"ready": False, "serving": True, "terminating": True}, "terminating"),
        ({"ready": False, "serving": False, "terminating": True}, "terminating-not-serving"),
        ({"ready": False, "terminating": True}, "terminating-not-serving"),
        ({"ready": True, "terminating": True}, "active"),  # publishNotReadyAddresses
    ],
)
def test_states_of_a_backend_that_is_known(conditions: dict[str, bool], state: str) -> None:
    body = {
        "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [backend(**conditions)],
    }
    port = facts.ServicePort("http", "TCP", 80)
    found = backends.of(port, [facts.endpoint_slice(body)], {("10.0.1.5", 8080)})
    assert [one["state"] for one in found] == [state]


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
        assert [one["port"] for one in backends.of(facts.ServicePort(name, protocol, 80), [piece])] == [port]
    assert backends.of(facts.ServicePort("c", "TCP", 80), [piece]) == []


def service(bench: Bench, name: str, *ports: int, address: str = "10.96.0.1", **spec: Any) -> None:
    listed = [{"name": f"p{port}", "port": port} for port in ports]
    meta = spec.pop("metadata", {})
    body = {"clusterIP": address, "clusterIPs": [address], "ports": listed, **spec}
    bench.seen(names.SERVICE, name, "ns", metadata=meta, spec=body)


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


class TestNotReady:
    """The port p80 is TCP, and u53 UDP; the pods serve both."""

    async def test_whoever_was_ready_keeps_its_connections_and_of_udp_none(self) -> None:
        bench, subject = self.made()
        for ready, states in (
            (False, ([], [])),
            (True, (["active"], ["active"])),
            (False, (["quarantined"], [])),
            (True, (["active"], ["active"])),
        ):
            await self.become(bench, subject, {"10.0.1.5": ready})
            assert self.states(bench) == states

    async def test_a_restarted_operator_knows_it_too(self) -> None:
        bench, _ = await self.turned()
        again = Tables(bench.cluster, bench.writer)
        again.start()
        bench.api.calls.clear()
        await settle(again)
        assert bench.api.calls == []
        assert self.states(bench) == (["quarantined"], [])

    async def test_a_pod_that_starts_is_one_write(self) -> None:
        bench, subject = await self.turned()
        bench.api.calls.clear()
        for ready in (False, True):
            await self.become(bench, subject, {"10.0.1.5": False, "10.0.1.6": ready})
        assert bench.api.calls == [("update", "ServiceTable", "web")]
        assert self.states(bench) == (["quarantined", "active"], ["active"])

    async def test_whoever_left_is_a_stranger_when_it_comes_back(self) -> None:
        bench, subject = await self.turned()
        for endpoints in ({}, {"10.0.1.5": False}):
            await self.become(bench, subject, endpoints)
            assert self.states(bench) == ([], [])

    async def turned(self) -> tuple[Bench, Tables]:
        """With a backend that is no longer ready."""
        bench, subject = self.made()
        for ready in (True, False):
            await self.become(bench, subject, {"10.0.1.5": ready})
        return bench, subject

    @staticmethod
    def made() -> tuple[Bench, Tables]:
        bench = Bench()
        subject = Tables(bench.cluster, bench.writer)
        service(bench, "web", ports=[{"name": "p80", "port": 80}, {"name": "u53", "port": 53, "protocol": "UDP"}])
        return bench, subject

    @staticmethod
    async def become(bench: Bench, subject: Tables, endpoints: dict[str, bool]) -> None:
        """`endpoints`: address -> whether it is ready."""
        body = {
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "p80", "port": 8080}, {"name": "u53", "port": 5353, "protocol": "UDP"}],
            "endpoints": [backend(address, ready=ready) for address, ready in endpoints.items()],
        }
        bench.seen(names.ENDPOINT_SLICE, "web-1", "ns", **body)
        await settle(subject)

    @staticmethod
    def states(bench: Bench) -> tuple[list[str], ...]:
        """Of the backends of each port."""
        ports = bench.api.of(names.SERVICE_TABLE)["web"]["spec"]["ports"]
        return tuple([one["state"] for one in port["backends"]] for port in ports)


async def test_dual_stack_has_a_frontend_and_backends_of_each_family() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    service(bench, "web", 80, clusterIPs=["10.96.0.1", "fd00::1"])
    await settle(subject)
    assert ids(bench) == {"10.96.0.1:80": 1, "fd00::1:80": 2}


@pytest.mark.parametrize(
    ("labels", "ours", "served"),
    [
        ({}, "", True),
        ({"service.kubernetes.io/service-proxy-name": "other"}, "", False),
        ({"service.kubernetes.io/service-proxy-name": ""}, "", False),
        ({"service.kubernetes.io/service-proxy-name": "other"}, "other", True),
        ({}, "other", False),
    ],
)
async def test_the_proxy_name_says_whose_a_service_is(labels: dict[str, str], ours: str, *, served: bool) -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer, frontends.Options(proxy_name=ours))
    service(bench, "web", 80, metadata={"labels": labels})
    await settle(subject)
    assert bool(bench.api.of(names.SERVICE_TABLE)) is served


def born(day: int) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": f"2026-01-0{day}T00:00:00Z"}}


def holders(bench: Bench, address: str) -> list[str]:
    return [
        name
        for name, body in bench.api.of(names.SERVICE_TABLE).items()
        for port in body["spec"]["ports"]
        for front in port["frontends"]
        if front["address"] == address
    ]


@pytest.mark.parametrize("order", [("old", "young"), ("young", "old")])
async def test_of_two_services_with_one_external_address_the_older_has_it(order: tuple[str, str]) -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    made = {"old": ("10.96.0.1", born(1)), "young": ("10.96.0.2", born(2))}
    for name in order:
        address, more = made[name]
        service(bench, name, 80, address=address, externalIPs=["192.0.2.7"], **more)
        await settle(subject)
    assert holders(bench, "192.0.2.7") == ["old"]
    number = ids(bench)["192.0.2.7:80"]
    bench.gone(names.SERVICE, "old", "ns")
    await settle(subject)
    assert holders(bench, "192.0.2.7") == ["young"]
    assert ids(bench)["192.0.2.7:80"] == number, "the number is the frontend's"


async def test_a_cluster_address_is_never_another_services_external_ip() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    service(bench, "thief", 80, address="10.96.0.1", externalIPs=["10.96.0.2"], **born(1))
    await settle(subject)
    service(bench, "owner", 80, address="10.96.0.2", **born(2))
    await settle(subject)
    assert holders(bench, "10.96.0.2") == ["owner"]


async def test_services_share_an_address_by_port() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    service(bench, "a", 80, address="10.96.0.1", externalIPs=["192.0.2.7"], **born(1))
    service(bench, "b", 443, address="10.96.0.2", externalIPs=["192.0.2.7"], **born(2))
    await settle(subject)
    assert sorted(holders(bench, "192.0.2.7")) == ["a", "b"]


async def test_a_service_that_lacked_a_number_gets_one_when_another_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LAST", 2)
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    for n, name in enumerate("abc", 1):
        service(bench, name, 80, address=f"10.96.0.{n}")
    await settle(subject)
    assert ids(bench) == {"10.96.0.1:80": 1, "10.96.0.2:80": 2}
    bench.gone(names.SERVICE, "a", "ns")
    await settle(subject)
    assert ids(bench) == {"10.96.0.2:80": 2, "10.96.0.3:80": 1}


async def test_one_endpoint_that_changes_is_one_write() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    label = {"labels": {"kubernetes.io/service-name": "s3"}}
    for n in range(10):
        service(bench, f"s{n}", 80, address=f"10.96.0.{n}")
    await settle(subject)
    bench.api.calls.clear()
    ports = [{"name": "p80", "port": 8080}]
    bench.seen(names.ENDPOINT_SLICE, "s3-1", "ns", metadata=label, ports=ports, endpoints=[backend()])
    await settle(subject)
    assert bench.api.calls == [("update", "ServiceTable", "s3")]


@pytest.mark.parametrize(
    ("annotation", "types"),
    [
        (None, ["ClusterIP", "NodePort", "LoadBalancer", "ExternalIPs"]),
        ("ClusterIP", ["ClusterIP", "ExternalIPs"]),
        ("NodePort", ["NodePort", "ExternalIPs"]),
        ("loadbalancer", ["LoadBalancer", "ExternalIPs"]),
        ("nonsense", ["ClusterIP", "NodePort", "LoadBalancer", "ExternalIPs"]),
    ],
)
def test_an_annotation_asks_for_one_type_of_frontend(annotation: str | None, types: list[str]) -> None:
    body = {
        "metadata": {"annotations": {"service.cilium.io/type": annotation} if annotation else {}},
        "spec": {
            "type": "LoadBalancer",
            "clusterIPs": ["10.96.0.1"],
            "externalIPs": ["192.0.2.7"],
            "ports": [{"port": 80, "nodePort": 30080}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}, {"ip": "192.0.2.9", "ipMode": "Proxy"}]}},
    }
    assert list(frontends.of(facts.service(body)).values()) == types


def test_addresses_have_one_spelling_and_a_family_of_the_service() -> None:
    odd = ["192.000.002.007", "192.0.2.7", "2001:db8::7"]
    body = {
        "metadata": {},
        "spec": {
            "clusterIPs": ["10.96.0.1"],
            "externalIPs": odd,
            "loadBalancerSourceRanges": ["010.1.2.3/8 ", "10.0.0.0/8"],
            "ports": [{"port": 80}],
        },
    }
    service = facts.service(body)
    assert list(frontends.of(service)) == [("10.96.0.1", 80, "TCP"), ("192.0.2.7", 80, "TCP")]
    table = frontends.table("web", service, [], {}, frontends.Options(), before={})
    assert table["spec"]["sourceRanges"] == ["10.0.0.0/8"]


def shown(bench: Bench) -> list[str]:
    return [one["type"] for one in bench.api.of(names.SERVICE)["web"].get("status", {}).get("conditions") or ()]


async def test_a_service_says_that_its_table_is_too_large_until_it_is_not() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    bench.api.fail = lambda call: errors.TooLargeError("no") if call[1] == "ServiceTable" else None
    other = {"type": "Other", "status": "True"}
    body = {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}
    bench.seen(names.SERVICE, "web", "ns", spec=body, status={"conditions": [other]})
    assert await settle(subject) == set(), "it is not tried again and again"
    assert shown(bench) == ["Other", "seta.dev/Served"]
    bench.api.calls.clear()
    subject.mark(("ns", "web"))
    await settle(subject)
    assert bench.api.calls == [("create", "ServiceTable", "web")], "told once"
    bench.api.fail = lambda _call: None
    subject.mark(("ns", "web"))
    await settle(subject)
    assert shown(bench) == ["Other"]
    assert bench.api.of(names.SERVICE_TABLE).keys() == {"web"}


async def test_a_service_that_could_not_be_told_is_tried_again() -> None:
    bench = Bench()
    subject = Tables(bench.cluster, bench.writer)
    bench.api.fail = lambda call: (
        errors.TooLargeError("no") if call[1] == "ServiceTable" else errors.UnavailableError("down")
    )
    service(bench, "web", 80)
    assert await settle(subject) == {("ns", "web")}
