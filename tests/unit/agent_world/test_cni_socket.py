"""The plugin as it ships against the agent's socket: what crosses it, and what happens when nobody answers."""

import asyncio
import json
import os
import pathlib
import shutil
import socket
import subprocess

import pytest

from seta_agent.cni.server import CniServer, receive

ROOT = pathlib.Path(__file__).parents[3]

CONFIG = {"cniVersion": "1.1.0", "name": "seta", "type": "seta-cni"}
ENVIRONMENT = {
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/proc/self/ns/net",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=xwing;K8S_POD_UID=u1",
}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("the CNI plugin is built here: gcc needed")
    directory = tmp_path_factory.mktemp("plugin")
    build = ["make", "-s", "-C", str(ROOT / "nodeagent/plugin"), f"BUILD={directory}"]
    subprocess.run([*build, "CPPFLAGS=-DSETA_TIMEOUT=1"], check=True)
    return directory / "seta-cni"


@pytest.fixture
def call(plugin, tmp_path):
    async def call(command: str, config: dict | str | None = None, **environment: str) -> tuple[int, dict]:
        wanted = {**CONFIG, "socket": str(tmp_path / "cni.sock")} if config is None else config
        process = await asyncio.create_subprocess_exec(
            plugin,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"CNI_COMMAND": command, **ENVIRONMENT, **environment},
        )
        text = wanted if isinstance(wanted, str) else json.dumps(wanted)
        out, _ = await process.communicate(text.encode())
        return process.returncode, json.loads(out or b"{}")

    return call


@pytest.fixture
async def server(world, tmp_path):
    made = CniServer(tmp_path / "cni.sock", world.commands)
    made.open()
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.usefixtures("server")
async def test_an_add_travels_there_and_its_result_back(call, world):
    code, answer = await call("ADD")
    assert (code, answer["ips"][0]["address"]) == (0, "10.0.1.2/32")
    assert answer["interfaces"][1]["sandbox"] == "/proc/self/ns/net"
    assert await call("DEL") == (0, {})
    assert len(world.tables.endpoints) == 0


@pytest.mark.usefixtures("server")
async def test_an_error_is_the_plugins_exit_code_and_its_json(call, world):
    world.kernel.synced = False
    code, answer = await call("STATUS")
    assert (code, answer["code"]) == (50, 50)
    assert answer["msg"] == "the datapath of this node is not programmed yet"
    assert answer["cniVersion"] == "1.1.0"


@pytest.mark.usefixtures("server")
async def test_a_namespace_that_does_not_open_is_an_error_of_the_agents(call):
    code, answer = await call("ADD", CNI_NETNS="/nowhere")
    assert (code, answer["msg"]) == (4, "CNI_NETNS is no network namespace that can be opened")


@pytest.mark.usefixtures("server")
async def test_a_config_without_a_name_is_told(call, tmp_path):
    code, _ = await call("ADD", {"cniVersion": "1.0.0", "socket": str(tmp_path / "cni.sock")})
    assert code == 7


@pytest.mark.usefixtures("server")
async def test_a_config_that_is_no_json_is_told(call, tmp_path):
    code, answer = await call("ADD", '{"socket": "' + str(tmp_path / "cni.sock") + '", broken')
    assert (code, answer["msg"].startswith("the network configuration is no JSON")) == (6, True)


@pytest.mark.parametrize(("command", "code"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)])
async def test_without_an_agent_everything_can_be_tried_again(call, command, code):
    exit_code, answer = await call(command)
    assert (exit_code, answer["code"]) == (code, code)
    assert answer["details"] == "No such file or directory"


async def test_the_version_needs_no_agent(call):
    code, answer = await call("VERSION")
    assert (code, answer["cniVersion"]) == (0, "1.1.0")
    assert answer["supportedVersions"] == ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]


async def test_an_agent_that_says_nothing_is_not_waited_for_for_ever(call, tmp_path):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "cni.sock"))
        silent.listen()
        assert (await call("ADD"))[0] == 11


async def test_an_agent_that_dies_in_the_middle_is_a_retryable_error(call, tmp_path):
    async def hang_up(_, writer):
        writer.write(b"0")
        writer.close()

    async with await asyncio.start_unix_server(hang_up, tmp_path / "cni.sock"):
        assert (await call("ADD"))[0] == 11


async def test_a_variable_with_a_line_break_is_refused(call):
    assert (await call("ADD", CNI_ARGS="a=b\nCNI_COMMAND=DEL"))[0] == 4


async def test_the_socket_is_for_root_alone(server, tmp_path):
    assert (tmp_path / "cni.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("server")
async def test_a_request_of_rubbish_gets_an_error_and_stops_nobody(call, tmp_path):
    reader, writer = await asyncio.open_unix_connection(tmp_path / "cni.sock")
    writer.write(b"\0" * 100)
    writer.write_eof()
    assert (await reader.read()).startswith(b"5\n")
    writer.close()
    assert (await call("STATUS"))[0] == 0


def open_descriptors() -> int:
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


async def test_more_descriptors_than_one_are_closed():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)  # noqa: FBT003
        before = open_descriptors()
        socket.send_fds(theirs, [b"x"], [0])
        theirs.shutdown(socket.SHUT_WR)
        data, descriptor = await receive(ours)
        os.close(descriptor)
        assert (data, open_descriptors()) == (b"x", before)
