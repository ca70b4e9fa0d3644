"""What is known of a cluster between commands: one JSON file in its run directory, written by `up`.

`down` works without it (names are enough); `status`, `env`, `exec`, `load` and `logs` read it.
"""

import functools
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from seta_playground import paths, processes
from seta_playground import plan as plan_module
from seta_playground.errors import PlaygroundError

STARTING = "starting"
RUNNING = "running"


@dataclass(frozen=True)
class Settings:
    """What the user asked `up` for. Two clusters with equal settings are the same."""

    network: str = "seta"  # seta | plain
    kube_proxy: str = ""  # iptables | nftables, plain network only
    nodes: int = 3
    values: tuple[str, ...] = ()  # key=value for the chart


@dataclass(frozen=True)
class Cluster:
    name: str
    settings: Settings
    phase: str
    up: processes.Record | None  # the `up` that made it, which may be long gone
    binaries: tuple[str, ...] = ()  # directories of its programs, kubectl and helm among them
    port: int = 0  # of the API server, on the machine's loopback
    forwarder: processes.Record | None = None

    @functools.cached_property
    def plan(self) -> plan_module.Plan:
        return plan_module.make(self.name, self.settings.nodes)

    @property
    def directory(self) -> Path:
        return paths.run_dir(self.name)

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def node_directory(self, node: str) -> Path:
        return self.directory / "nodes" / node

    def node_pid(self, node: str) -> int | None:
        """The host's id of a node's first process; None where the node does not run."""
        found = processes.read(self.node_directory(node) / "init")
        return found.pid if found and processes.alive(found) else None

    def save(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        raw = asdict(self)
        new = self.directory / "cluster.json.new"
        new.write_text(json.dumps(raw, indent=1))
        new.replace(self.directory / "cluster.json")

    def but(self, **changes: object) -> "Cluster":
        """The same cluster with some fields changed, saved."""
        changed = replace(self, **changes)  # type: ignore[arg-type]  # fields are checked by the constructor
        changed.save()
        return changed


def load(name: str) -> Cluster | None:
    """What is known of a cluster; None where there is nothing or an unfinished file."""
    try:
        raw = json.loads((paths.run_dir(name) / "cluster.json").read_text())
        settings = raw.pop("settings")
        settings["values"] = tuple(settings["values"])
        raw["binaries"] = tuple(raw["binaries"])
        for key in ("up", "forwarder"):
            raw[key] = processes.Record(**raw[key]) if raw[key] else None
        return Cluster(settings=Settings(**settings), **raw)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def running(name: str) -> Cluster:
    """The cluster of that name, for commands that need it up."""
    cluster = load(name)
    if cluster is None:
        others = ", ".join(names()) or "none"
        raise PlaygroundError(f"no cluster named {name} is up (up: {others}): `playground up --name {name}`")
    return cluster


def names() -> list[str]:
    """Every cluster that something is known of."""
    return sorted(file.parent.name for file in paths.RUN.glob("*/cluster.json"))
