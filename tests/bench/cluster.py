"""A playground cluster under measurement, driven only through what a user has: `playground` and kubectl."""

import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYGROUND = ROOT / ".venv/bin/playground"
TOOLBOX = "ghcr.io/seta-net/toolbox:0.1.0"


class Cluster:
    def __init__(self, name: str) -> None:
        self.name = name
        self.env = dict(os.environ, **_exports(name))

    def run(self, *command: str | pathlib.Path, stdin: bytes | None = None, timeout: float = 300) -> str:
        done = subprocess.run(
            command, env=self.env, input=stdin, stdout=subprocess.PIPE, check=True, timeout=timeout, cwd=ROOT
        )
        return done.stdout.decode()

    def background(self, *command: str) -> subprocess.Popen[str]:
        """What it prints is read when it ends."""
        return subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, text=True)

    @contextlib.contextmanager
    def kube_proxy_frozen(self, asked: str) -> Iterator[None]:
        """While thousands of services are made: its attempts to keep up take what their making needs. Only that of the
        node that is asked goes on then: three at once would take minutes from each other.
        """

        def signal(node: str, name: str) -> None:
            self.run(PLAYGROUND, "exec", "--name", self.name, node, "--", "sh", "-c", f"pkill -{name} kube-proxy; :")

        for one in self.get("nodes")["items"]:
            signal(one["metadata"]["name"], "STOP")
        try:
            yield
        finally:
            signal(asked, "CONT")

    def kubectl(self, *args: str, stdin: bytes | None = None) -> str:
        return self.run("kubectl", *args, stdin=stdin)

    def get(self, *args: str) -> Any:
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects).encode())

    def pod(self, name: str, node: str, netbench: pathlib.Path) -> str:
        """A running toolbox pod with netbench in it; returns its address."""
        labels = {"app": name}
        spec = {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": TOOLBOX, "command": ["sleep", "infinity"]}],
        }
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec})
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
        load = "cat > /netbench && chmod +x /netbench"
        self.kubectl("exec", "-i", name, "--", "sh", "-c", load, stdin=netbench.read_bytes())
        return str(self.get("pod", name)["status"]["podIP"])

    def serve(self, pod: str, port: int = 7000, cpu: int = 1) -> None:
        command = f"nohup /netbench serve {port} {cpu} >/dev/null 2>&1 & sleep 0.2"
        self.kubectl("exec", pod, "--", "sh", "-c", command)

    def netbench(self, pod: str, *args: str) -> str:
        return self.kubectl("exec", pod, "--", "/netbench", *args)


@contextlib.contextmanager
def cluster(name: str, *options: str) -> Iterator[Cluster]:
    """Brings a cluster up and always takes it down."""
    try:
        subprocess.run([PLAYGROUND, "up", "--name", name, *options], check=True, stdout=sys.stderr)
        yield Cluster(name)
    finally:
        subprocess.run([PLAYGROUND, "down", "--name", name], check=False, stdout=sys.stderr)


def _exports(name: str) -> dict[str, str]:
    """What `playground env` exports."""
    script = subprocess.run([PLAYGROUND, "env", "--name", name], check=True, stdout=subprocess.PIPE, text=True).stdout
    shown = subprocess.run(
        ["bash", "-c", f"{script}\nenv -0"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"]},
    ).stdout
    pairs = dict(item.split("=", 1) for item in shown.split("\0") if item)
    wanted = {shlex.split(line)[1].split("=")[0] for line in script.splitlines() if line.startswith("export ")}
    return {key: value for key, value in pairs.items() if key in wanted}
