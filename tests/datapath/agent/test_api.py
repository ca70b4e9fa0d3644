"""Every command about the kernel, asked over the socket of a real agent whose maps hold something."""

import asyncio
import dataclasses
import ipaddress
import time

import pytest

from seta_agent.api.backend import Backend
from seta_agent.api.server import ApiServer
from seta_agent.cli import local, main, merge
from seta_agent.cli.errors import CliError
from seta_agent.tables import Backend as Place
from seta_agent.tables import Frontend, Service, ServicePort
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import IP, SECONDS
from tests.datapath.agent.test_programmer import entry, set_policy, set_selector
from tests.datapath.agent.test_stale_connections import NAT, OUT, put, tuple_of

FRONTS = (Frontend(17, "ClusterIP", IP("10.96.0.10"), 80), Frontend(18, "NodePort", IP("0.0.0.0"), 30080))
WEB = Service("ns", "web", (ServicePort("http", "TCP", FRONTS, (Place(IP("10.1.2.5"), 8080),)),))
SHOWN = {  # command -> what stands in its output
    "bpf lb list": "10.96.0.10:80/TCP (1)",
    "bpf lb list --frontends": "192.168.50.1:30080/TCP (0)",
    "bpf lb list --backends": "10.1.2.5:8080/TCP",
    "bpf lb list --revnat": "192.168.50.1:30080",
    "bpf lb list --source-ranges": "203.0.113.0/24 (18)",
    "bpf lb maglev list": "251 entries of [1: 251]",
    "bpf lb maglev get 18": "[1, 1, 1,",
    "bpf policy get 5": "Policy stats empty",
    "bpf policy get 7 -n": "Allow    Ingress     300        ANY          NONE         disabled    50      1   ",
    "bpf policy get --all": "Endpoint ID: 5",
    "bpf ipcache list": "10.1.1.5/32",
    "bpf endpoint list": "id=5",
    "bpf ct list global": "UDP OUT 10.1.1.5:80 -> 10.1.1.6:80",
    "bpf metrics list": "Policy denied   INGRESS     1         50 ",
    "bpf nat list": "UDP OUT 10.1.1.5:4242 -> 203.0.113.9:53 XLATE_SRC 192.168.50.1:61000 Created=",
    "map list": "cilium_lb4_services_v2",
    "map list --verbose": "## Map: cilium_lb4_maglev",
    "map get cilium_lb4_source_range": "203.0.113.0/24 (18)",
    "map get cilium_lb_affinity_match": "1 18",
}


async def serve(lab, directory):
    """The agent's API, of which only the kernel's half is asked."""
    others = dict.fromkeys(("store", "probes", "l2"))
    server = ApiServer(directory / "seta.sock", Backend(lab.settings, lab.tables, lab.agent, None, (), **others))
    await server.open()
    return server


def run(words):
    args = main.parser().parse_args(words.split())
    return merge.text(args.command.show(local.ask(args.command.method(args), args.command.path(args)), args))


@pytest.fixture
def socket_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("SETA_RUN_DIR", str(tmp_path))
    return tmp_path


@on_a_node
async def test_every_command_about_the_kernel_shows_what_it_holds(lab, socket_directory):
    await lab.start(bpf_lb_algorithm="maglev", bpf_lb_maglev_table_size=251, bpf_lb_source_range_all_types=True)
    ranges = (ipaddress.ip_network("203.0.113.0/24"),)
    lab.tables.services.set(("ns", "web"), dataclasses.replace(WEB, affinity_seconds=60, source_ranges=ranges))
    set_selector(lab, "ss-subject", 400)
    set_selector(lab, "ss-clients", 300)
    set_policy(lab, entry("ss-clients"))
    client, server = await lab.add_pod(5), await lab.add_pod(6)
    guarded, stranger = await lab.add_pod(7, 400), await lab.add_pod(8, 500)
    await lab.applied()
    assert await lab.reaches(client, server)
    assert await lab.reaches(client, guarded)
    assert not await lab.reaches(stranger, guarded)
    outside = tuple_of((client.address[0], 4242), ("203.0.113.9", 53), OUT)
    put(lab, NAT, outside, created=time.monotonic_ns(), to_addr="192.168.50.1", to_port=61000)
    api = await serve(lab, socket_directory)
    try:
        for words, shown in SHOWN.items():
            async with asyncio.timeout(SECONDS):
                assert shown in await asyncio.to_thread(run, words), words
        with pytest.raises(CliError, match="service 99 has no Maglev table"):
            await asyncio.to_thread(run, "bpf lb maglev get 99")
    finally:
        await api.close()
