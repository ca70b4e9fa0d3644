"""How an agent starts with what is remembered of its node."""

import asyncio
import dataclasses
import ipaddress
import re

import pytest

from seta_agent import agent
from seta_agent.cni import statefiles
from seta_agent.kube import KubeClient
from seta_agent.kube_access import Access
from seta_agent.paths import Paths
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.settings import Settings
from seta_agent.tables import Node
from seta_crds.labels import LabelFilter

OLD, NEW = (ipaddress.ip_address(text) for text in ("192.168.50.1", "192.168.50.9"))
REMEMBERED = Node("n1", (OLD,), (ipaddress.ip_address("10.1.1.1"),), (ipaddress.ip_network("10.1.1.0/24"),))


@pytest.fixture
async def started(tmp_path, monkeypatch):
    """`started(row)`: with which addresses the programmer was started, where the API server says `row`."""
    paths = Paths(tmp_path, tmp_path / "bin", tmp_path / "net.d", tmp_path / "plugin", tmp_path / "cni.sock")
    client = KubeClient(Access("http://127.0.0.1:1", None))
    made = agent.Agent(Settings(node_name="n1"), LabelFilter([]), paths, client)
    statefiles.save_node(paths.state / "node.json", REMEMBERED)
    tried = []

    async def start():
        (address,) = made._tables.nodes.get("n1").internal_ips
        tried.append(address)
        if address == OLD:
            raise ProgrammingError(f"no device has the node's address {address}")

    async def nothing():
        pass

    async def run(row):
        def watch(_tasks):
            made._watching = True
            asyncio.get_running_loop().call_soon(made._tables.nodes.set, "n1", row)

        monkeypatch.setattr(made, "_start_watches", watch)
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            await made._start_datapath(tasks)
        return tried

    monkeypatch.setattr(made._programmer, "start", start)
    monkeypatch.setattr(made._programmer, "run", nothing)
    yield run
    await client.close()


async def test_a_remembered_address_that_no_device_has_makes_way_for_the_api_servers(started):
    assert await started(dataclasses.replace(REMEMBERED, internal_ips=(NEW,), uid="u")) == [OLD, NEW]


async def test_where_the_api_server_says_the_same_the_start_fails_with_its_sentence(started):
    with pytest.raises(ExceptionGroup) as caught:
        await started(dataclasses.replace(REMEMBERED, uid="u"))
    assert re.search("no device has", str(caught.value.exceptions[0]))
