"""What load balancers are told, over real sockets on loopback."""

import asyncio
import datetime as dt
import ipaddress
import json
import socket

import pytest

from seta_agent.probes.node import NodeProbes
from seta_agent.probes.proxy import ProxyHealth
from seta_agent.probes.services import ServiceHealth
from seta_agent.settings import Settings
from seta_agent.tables import Backend, Service, ServicePort, Tables
from tests.unit.agent_world.world import NODE, node

WEB = ("shop", "web")


def backend(address, on=NODE, **changes):
    return Backend(ipaddress.ip_address(address), 8080, node=on, **changes)


def service(port, *backends, name="web", **changes):
    ports = (ServicePort("http", "TCP", (), backends), ServicePort("metrics", "TCP", (), backends))
    fields = {"type": "LoadBalancer", "external_local": True, "health_check_node_port": port, **changes}
    return Service("shop", name, ports, **fields)


async def ask(port, path="/", host="127.0.0.1"):
    """Status, headers and body."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), dict(line.split(": ") for line in lines), body


async def refused(port):
    try:
        await ask(port)
    except OSError:
        return True
    return False


@pytest.fixture
async def health():
    """Tables, and the ports that follow from them after each `step`."""
    tables = Tables()
    made = ServiceHealth(tables, NODE, (), lambda: made.well)
    made.well, made.tables = True, tables
    yield made
    made.close()


async def test_a_node_with_a_ready_pod_answers_as_kube_proxy_does(health, unused_tcp_port):
    health.tables.services.set(WEB, service(unused_tcp_port, backend("10.0.1.5"), backend("10.0.2.5", "other")))
    await health.step()
    status, headers, body = await ask(unused_tcp_port, "/healthz")
    assert (status, headers["Content-Type"], headers["X-Content-Type-Options"]) == (200, "application/json", "nosniff")
    assert headers["X-Load-Balancing-Endpoint-Weight"] == "1"
    assert body == (
        '{\n\t"service": {\n\t\t"namespace": "shop",\n\t\t"name": "web"\n\t},\n'
        '\t"localEndpoints": 1,\n\t"serviceProxyHealthy": true\n}'
    )


async def test_only_pods_that_serve_on_this_node_count_and_each_once(health, unused_tcp_port):
    others = (backend("10.0.1.6", state="terminating"), backend("10.0.1.7", state="quarantined"))
    both = (backend("10.0.1.8"), backend("fd00::8"), backend("10.0.1.9"), backend("fd00::9"))
    health.tables.services.set(WEB, service(unused_tcp_port, *others))
    await health.step()
    status, headers, body = await ask(unused_tcp_port)
    assert (status, headers["X-Load-Balancing-Endpoint-Weight"]) == (503, "0")
    assert json.loads(body)["localEndpoints"] == 0
    health.tables.services.set(WEB, service(unused_tcp_port, *others, *both))
    assert json.loads((await ask(unused_tcp_port))[2])["localEndpoints"] == 2


async def test_a_node_whose_datapath_fails_sends_traffic_away(health, unused_tcp_port):
    health.tables.services.set(WEB, service(unused_tcp_port, backend("10.0.1.5")))
    await health.step()
    health.well = False
    status, _, body = await ask(unused_tcp_port)
    assert (status, json.loads(body)["serviceProxyHealthy"], json.loads(body)["localEndpoints"]) == (503, False, 1)


@pytest.mark.parametrize("change", [{"external_local": False}, {"health_check_node_port": 0}, None])
async def test_the_port_closes_when_the_service_no_longer_asks_for_it(health, unused_tcp_port, change):
    health.tables.services.set(WEB, service(unused_tcp_port))
    await health.step()
    assert not await refused(unused_tcp_port)
    if change is None:
        health.tables.services.delete(WEB)
    else:
        health.tables.services.set(WEB, service(unused_tcp_port, **change))
    await health.step()
    assert await refused(unused_tcp_port)


async def test_a_port_may_move_from_one_service_to_another(health, unused_tcp_port_factory):
    first, second = unused_tcp_port_factory(), unused_tcp_port_factory()
    health.tables.services.set(WEB, service(first))
    health.tables.services.set(("shop", "api"), service(second, name="api"))
    await health.step()
    health.tables.services.set(WEB, service(second))
    health.tables.services.set(("shop", "api"), service(first, name="api"))
    await health.step()
    assert json.loads((await ask(first))[2])["service"]["name"] == "api"
    assert json.loads((await ask(second))[2])["service"]["name"] == "web"


async def test_a_port_that_is_taken_is_told_and_tried_again_and_keeps_no_other_back(health, unused_tcp_port_factory):
    taken, free = unused_tcp_port_factory(), unused_tcp_port_factory()
    with socket.create_server(("127.0.0.1", taken)):
        health.tables.services.set(WEB, service(taken))
        health.tables.services.set(("shop", "api"), service(free, name="api"))
        await health.step()
        assert health.errors == {WEB: f"port {taken} cannot be opened: Address already in use"}
        assert (await ask(free))[0] == 503
    health.retry()
    await health.step()
    assert (health.errors, health.ports) == ({}, 2)
    assert json.loads((await ask(taken))[2])["service"]["name"] == "web"


async def test_a_service_that_no_longer_asks_for_a_taken_port_is_no_error(health, unused_tcp_port):
    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        health.tables.services.set(WEB, service(unused_tcp_port))
        await health.step()
        health.tables.services.delete(WEB)
        await health.step()
    assert health.errors == {}


async def test_while_it_runs_ports_follow_the_services_and_close_at_the_end(health, unused_tcp_port):
    task = asyncio.create_task(health.run())
    await asyncio.sleep(0)
    health.tables.services.set(WEB, service(unused_tcp_port))
    while not health.ports:  # noqa: ASYNC110 - as soon as the loop has run it
        await asyncio.sleep(0)
    assert (await ask(unused_tcp_port))[0] == 503
    task.cancel()
    await asyncio.wait({task})
    assert await refused(unused_tcp_port)


async def test_services_that_were_there_before_have_their_ports_too(unused_tcp_port):
    tables = Tables()
    tables.services.set(WEB, service(unused_tcp_port, backend("10.0.1.5")))
    health = ServiceHealth(tables, NODE, (), lambda: True)
    await health.step()
    assert (await ask(unused_tcp_port))[0] == 200
    tables.services.delete(WEB)
    await health.step()


async def test_only_addresses_that_serve_node_ports_answer(unused_tcp_port):
    tables = Tables()
    tables.services.set(WEB, service(unused_tcp_port, backend("10.0.1.5")))
    health = ServiceHealth(tables, NODE, (ipaddress.ip_network("127.0.0.2/32"),), lambda: True)
    await health.step()
    assert (await ask(unused_tcp_port, host="127.0.0.2"))[0] == 200
    with pytest.raises((OSError, IndexError)):
        await ask(unused_tcp_port, host="127.0.0.1")
    tables.services.delete(WEB)
    await health.step()


CLOCK = 1000.0


@pytest.mark.parametrize(
    ("since", "eligible", "path", "status"),
    [
        (None, True, "/healthz", 200),
        (CLOCK - 59, True, "/healthz", 200),
        (CLOCK - 61, True, "/healthz", 503),
        (None, False, "/healthz", 503),
        (None, False, "/livez", 200),
        (CLOCK - 61, True, "/livez", 503),
        (None, True, "/metrics", 404),
    ],
)
def test_kube_proxys_healthz_is_about_what_is_late_and_whether_the_node_stays(since, eligible, path, status):
    assert ProxyHealth(lambda: since, lambda: eligible, lambda: CLOCK).answer(path).status == status


def test_kube_proxys_healthz_tells_when_it_was_last_well():
    answer = ProxyHealth(lambda: CLOCK - 90, lambda: True, lambda: CLOCK).answer("/healthz")
    told = json.loads(answer.body)
    last, now = (
        dt.datetime.strptime(told[name], "%Y-%m-%d %H:%M:%S.%f +0000 UTC").replace(tzinfo=dt.UTC)
        for name in ("lastUpdated", "currentTime")
    )
    assert (now - last, told["nodeEligible"]) == (dt.timedelta(seconds=90), True)


async def test_a_healthz_address_that_is_taken_is_told_and_tried_again(unused_tcp_port, monkeypatch):
    monkeypatch.setattr("seta_agent.probes.node.RETRY_SECONDS", 0)
    where = f"127.0.0.1:{unused_tcp_port}"
    tables = Tables()
    tables.nodes.set(NODE, node())
    tables.nodes.synced = True
    settings = Settings(node_name=NODE, kube_proxy_replacement_healthz_bind_address=where)
    probes = NodeProbes(settings, tables, lambda: None)
    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        task = asyncio.create_task(probes.run())
        while not (told := probes.describe()["errors"]):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
        assert told == {
            "kubeProxyReplacementHealthzBindAddr": f"port {unused_tcp_port} cannot be opened: Address already in use"
        }
    while probes.describe()["errors"]:  # noqa: ASYNC110 - as soon as the loop has run it
        await asyncio.sleep(0)
    assert (await ask(unused_tcp_port, "/healthz"))[0] == 200
    tables.nodes.delete(NODE)
    assert (await ask(unused_tcp_port, "/healthz"))[0] == 503
    task.cancel()
    await asyncio.wait({task})
    assert await refused(unused_tcp_port)
