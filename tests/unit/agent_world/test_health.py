"""What kubelet's probes are told."""

import asyncio

from seta_agent import health
from seta_agent.probes.server import response
from seta_agent.readiness import Readiness
from seta_agent.tables import Tables
from tests.unit.agent_world.world import NODE, node

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def told(head, sentence):
    return response(head, lambda path: health.answer(path, sentence))


def test_all_well_is_200():
    assert told(HEAD, "").startswith(b"HTTP/1.1 200 ")


def test_anything_else_is_503_and_the_sentence():
    answer = told(HEAD, "the datapath is not programmed yet")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"\r\n\r\nthe datapath is not programmed yet\n")


def test_other_paths_and_rubbish_are_404():
    for head in (b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"GET\r\n\r\n"):
        assert told(head, "").startswith(b"HTTP/1.1 404 ")


async def test_a_probe_gets_its_answer(unused_tcp_port):
    server = health.server(lambda: "", unused_tcp_port)
    await server.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
    writer.write(HEAD)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()
    await writer.wait_closed()
    server.close()


class Programmer:
    synced = False
    failure = ""

    def status(self):
        return {"failure": self.failure}


async def test_ready_is_when_all_is_listed_and_programmed():
    tables, programmer = Tables(), Programmer()
    readiness = Readiness(tables, programmer, NODE)
    assert "waiting for the API server to list endpoints, pods" in readiness.sentence()
    for table in vars(tables).values():
        table.synced = True
    assert readiness.sentence() == "node k8s-w1 has no pod CIDR yet; is seta-operator running?"
    tables.nodes.set(NODE, node())
    assert readiness.sentence() == "the datapath is not programmed yet"
    programmer.failure = "the map cilium_lxc is full"
    assert readiness.sentence() == "the datapath is not programmed: the map cilium_lxc is full"
    programmer.synced = True
    await readiness.wait()
    assert (readiness.sentence(), readiness.seconds > 0) == ("", True)
    tables.nodes.delete(NODE)
    assert readiness.sentence() == ""
    assert readiness.trouble() == "the datapath is not programmed: the map cilium_lxc is full"
