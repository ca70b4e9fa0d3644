"""Clusters for the end-to-end tests: brought up with `playground up`, always taken down.

`cluster` and `bench` are Seta, once in each routing mode; `plain_cluster` is the same cluster without Seta. Tests see a
cluster as a user does: kubectl, helm and seta with its environment, and `playground exec`.
"""

import os
import pathlib
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e import steps
from tests.netbench import build

ROOT = pathlib.Path(__file__).parents[2]
PLAYGROUND = str(ROOT / ".venv/bin/playground")
MODES = {  # routing mode -> values of the chart
    "native": ["routingMode=native", "autoDirectNodeRoutes=true", "ipv4NativeRoutingCIDR=10.0.0.0/8"],
    "tunnel": ["routingMode=tunnel", "tunnelProtocol=vxlan"],
}
ALWAYS = ["hostFirewall.enabled=true"]  # in every mode: without a host policy it changes nothing
PATIENCE = 300  # seconds; every command of a test ends by then


class Cluster:
    """A running cluster. Commands fail with what they wrote to stderr."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.environment = {**os.environ, **_exports(name)}

    def try_run(self, *command: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command with kubectl, helm and seta within reach; never raises for its exit code."""
        done = subprocess.run(
            command, input=stdin, capture_output=True, env=self.environment, timeout=PATIENCE, check=False
        )
        out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def run(self, *command: str, stdin: bytes | None = None) -> str:
        done = self.try_run(*command, stdin=stdin)
        if done.returncode != 0:
            raise AssertionError(f"`{shlex.join(command)}` failed with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def popen(self, *command: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=self.environment)

    def kubectl(self, *args: str, stdin: bytes | None = None) -> str:
        return self.run("kubectl", *args, stdin=stdin)

    def try_kubectl(self, *args: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[str]:
        return self.try_run("kubectl", *args, stdin=stdin)

    def popen_kubectl(self, *args: str) -> subprocess.Popen[str]:
        return self.popen("kubectl", *args)

    def exec(self, place: str, *command: str) -> str:
        """Runs a command inside a node or the world."""
        return self.run(*self.entering(place, command))

    def try_exec(self, place: str, *command: str) -> subprocess.CompletedProcess[str]:
        return self.try_run(*self.entering(place, command))

    def popen_exec(self, place: str, *command: str) -> subprocess.Popen[str]:
        return self.popen(*self.entering(place, command))

    def seta(self, *args: str) -> str:
        return self.run("seta", *args)

    def popen_seta(self, *args: str) -> subprocess.Popen[str]:
        return self.popen("seta", *args)

    def entering(self, place: str, command: tuple[str, ...]) -> list[str]:
        """The argument list that runs a command inside a node, the world, the router or the LAN."""
        return [PLAYGROUND, "exec", "--name", self.name, place, "--", *command]


def playground(*args: str) -> str:
    """Runs a command of the playground; what it says goes into the failure."""
    done = subprocess.run([PLAYGROUND, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"playground {shlex.join(args)}:\n{done.stderr}{done.stdout}"
    return done.stdout


def _exports(name: str) -> dict[str, str]:
    """The environment that `playground env` makes in a shell."""
    script = f'{playground("env", "--name", name)}\nprintf "%s\\0%s" "$KUBECONFIG" "$PATH"'
    kubeconfig, path = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split(
        "\0"
    )
    return {"KUBECONFIG": kubeconfig, "PATH": path}


def brought_up(name: str, *options: str) -> Iterator[Cluster]:
    """A cluster that is there until the generator ends, however the tests end."""
    if os.geteuid() != 0:
        pytest.skip("a cluster needs root")
    try:
        playground("up", "--name", name, *options)
        yield Cluster(name)
    finally:
        playground("down", "--name", name)


@pytest.fixture(scope="session", params=list(MODES))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    if running := os.environ.get("SETA_E2E_CLUSTER"):  # a cluster that is up already, while a test is being written
        if request.param != next(iter(MODES)):
            pytest.skip(f"only against the cluster {running}")
        yield Cluster(running)
        return
    values = [part for value in (*MODES[request.param], *ALWAYS) for part in ("--set", value)]
    yield from brought_up("e2e", *values)


@pytest.fixture(scope="session")
def netbench(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build.binary(tmp_path_factory.mktemp("netbench")).read_bytes()


@pytest.fixture(scope="session")
def bench(cluster: Cluster, netbench: bytes) -> steps.Bench:
    return steps.Bench(cluster, netbench)


@pytest.fixture(scope="module", params=["iptables", "nftables"])
def plain_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    if running := os.environ.get("SETA_E2E_PLAIN_CLUSTER"):
        yield Cluster(running)
        return
    yield from brought_up("e2e-plain", "--network", "plain", "--kube-proxy", request.param)


@pytest.fixture(scope="module")
def plain_bench(plain_cluster: Cluster, netbench: bytes) -> steps.Bench:
    return steps.Bench(plain_cluster, netbench)
