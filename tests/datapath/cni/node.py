"""A node in namespaces of its own: the real agent and the real plugin, and an API server of dicts that they talk to.

Everything is named aw-; `close` takes all of it away, and so does the next `Node` where a test was killed.
"""

import asyncio
import concurrent.futures
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from tests.unit.agent_world.apiserver import FakeApiServer

ROOT = pathlib.Path(__file__).parents[3]
NODE, PODS = "aw-node", ("aw-pod1", "aw-pod2")
DIRECTORY = pathlib.Path("/tmp/aw-node")  # noqa: S108 - one name, so that leftovers are found
CNI_CONFIG = {"cniVersion": "1.1.0", "name": "seta", "type": "seta-cni", "socket": str(DIRECTORY / "run/cni.sock")}
CGROUP = pathlib.Path("/sys/fs/cgroup/unified/aw-node")  # socket hooks act on what is below: here on nobody
SETTINGS = {"routing-mode": "native", "devices": "eth0", "cgroup-root": str(CGROUP), "bpf-root": str(DIRECTORY / "bpf")}
SMALL = dict.fromkeys(("bpf-ct-global-tcp-max", "bpf-ct-global-any-max", "bpf-nat-global-max"), "1024")
INSIDE = ("nsenter", f"--net=/run/netns/{NODE}")  # `ip netns exec` would hide /sys/fs/cgroup
NODES, PODS_PATH = "/apis/cilium.io/v2/ciliumnodes", "/api/v1/namespaces/default/pods"
CLONE_NEWNET = 0x40000000


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, text=True, capture_output=True, check=False, **options)


def must(*command: str) -> str:
    done = run(*command)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


class Api:
    """The API server of dicts, in a thread, listening inside the node's network namespace."""

    def __init__(self) -> None:
        self.server = FakeApiServer()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._call(self.server.start(_listener_in(NODE)))

    def put(self, path: str, item: dict) -> None:
        self._call(self._later(self.server.put, path, item))

    def remove(self, path: str) -> None:
        self._call(self._later(self.server.remove, path))

    def objects(self, part: str) -> dict[str, dict]:
        return {path: item for path, item in self.server.objects.items() if part in path}

    def close(self) -> None:
        self._call(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @staticmethod
    async def _later(function, *arguments):
        return function(*arguments)

    def _call(self, coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


class Node:
    """`start_agent` and `kill_agent` as often as a test wants; `cni` runs the plugin as a runtime does."""

    def __init__(self, plugin: pathlib.Path) -> None:
        self._plugin = plugin
        self.seta_command = (sys.executable, "-m", "seta_agent.cli.main")
        self.environment = {**os.environ, "SETA_RUN_DIR": str(DIRECTORY / "run")}
        self._agent: subprocess.Popen[bytes] | None = None
        _clean()
        for namespace in (NODE, *PODS):
            must("ip", "netns", "add", namespace)
        commands = ("link set lo up", "link add eth0 type veth peer name wire", "link set eth0 up", "link set wire up")
        for command in (*commands, "address add 192.168.50.1/24 dev eth0"):
            must("ip", "-n", NODE, *command.split())
        for name in ("run", "bpf", "config", "cni-bin", "cni-conf"):
            (DIRECTORY / name).mkdir(parents=True)
        CGROUP.mkdir()
        must("mount", "-t", "bpf", "bpf", str(DIRECTORY / "bpf"))
        for key, value in (SETTINGS | SMALL).items():
            (DIRECTORY / "config" / key).write_text(value)
        self.api = Api()
        _write_kubeconfig(self.api.server.url)

    def start_agent(self) -> None:
        environment = {
            **self.environment,
            "K8S_NODE_NAME": NODE,
            "KUBECONFIG": str(DIRECTORY / "kubeconfig"),
            "SETA_CNI_BIN": str(DIRECTORY / "cni-bin"),
            "SETA_CNI_CONF": str(DIRECTORY / "cni-conf"),
            "SETA_PLUGIN": str(self._plugin),
        }
        command = [sys.executable, "-m", "seta_agent.main", "--config-dir", str(DIRECTORY / "config")]
        with (DIRECTORY / "agent.log").open("ab") as log:
            self._agent = subprocess.Popen([*INSIDE, *command], env=environment, stdout=log, stderr=log)

    def wait_ready(self) -> dict[str, Any]:
        """The agent's status once it is ready."""
        return eventually(self._ready, lambda: f"the agent is ready; its log:\n{self.log()}")

    def kill_agent(self, number: int = signal.SIGKILL) -> None:
        if self._agent is not None:
            self._agent.send_signal(number)
            self._agent.wait(15)
            self._agent = None

    def log(self) -> str:
        return (DIRECTORY / "agent.log").read_text()

    def seta(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run(*self.seta_command, *words, env=self.environment)

    def cni(self, command: str, namespace: str, pod: str, config: str | None = None) -> tuple[int, dict[str, Any]]:
        """Exit code, and the JSON that the plugin printed (empty where it printed none)."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"container-{pod}",
            "CNI_NETNS": f"/run/netns/{namespace}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID=uid-{PODS_PATH}/{pod}",
        }
        text = json.dumps(CNI_CONFIG) if config is None else config
        done = run(str(self._plugin), env=environment, input=text)
        return done.returncode, json.loads(done.stdout or "{}")

    def close(self) -> None:
        self.kill_agent()
        self.api.close()
        _clean()

    def _ready(self) -> dict[str, Any] | None:
        asked = self.seta("status", "-o", "json")
        status = json.loads(asked.stdout) if asked.returncode == 0 else {}
        return status if status.get("ready") else None


def eventually(fact, what, seconds: float = 20.0):
    """The first true answer. `what`: the sentence that is claimed, or a function that makes it."""
    end = time.monotonic() + seconds
    while not (answer := fact()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.05)
    return answer


def _listener_in(namespace: str) -> socket.socket:
    """A socket lives where it was made: this one is the namespace's, though our process stays outside."""

    def make() -> socket.socket:
        with pathlib.Path(f"/run/netns/{namespace}").open() as handle:
            assert ctypes.CDLL(None).setns(handle.fileno(), CLONE_NEWNET) == 0
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        return listener

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def _write_kubeconfig(url: str) -> None:
    config = {
        "current-context": "aw",
        "contexts": [{"name": "aw", "context": {"cluster": "aw", "user": "aw"}}],
        "clusters": [{"name": "aw", "cluster": {"server": url}}],
        "users": [{"name": "aw", "user": {}}],
    }
    (DIRECTORY / "kubeconfig").write_text(json.dumps(config))


def _clean() -> None:
    if (DIRECTORY / "bpf").is_mount():
        must("umount", str(DIRECTORY / "bpf"))
    if CGROUP.is_dir():
        CGROUP.rmdir()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    for namespace in (NODE, *PODS):
        run("ip", "netns", "delete", namespace)
