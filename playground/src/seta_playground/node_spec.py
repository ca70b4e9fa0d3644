"""What a node is made of, as data: written by node.py on the outside, read by node_init.py on the inside."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """A program that the node keeps running."""

    name: str
    argv: list[str]
    after: str = ""  # starts when `HOST:PORT` accepts connections or `https://...` answers 200; "" at once


@dataclass(frozen=True)
class NodeSpec:
    name: str
    netns: str  # path of the network namespace
    cgroup: str  # the node's root in every hierarchy
    scratch: str  # an empty directory for the node's file system to be put together in
    logs: str  # directory for one file per service
    record: str  # file that gets the host's id of the node's first process
    binds: list[tuple[str, str]] = field(default_factory=list)  # (outside, inside)
    files: dict[str, str] = field(default_factory=dict)  # path inside -> content
    links: dict[str, str] = field(default_factory=dict)  # path inside -> what it points to
    services: list[Service] = field(default_factory=list)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1))


def read(path: Path) -> NodeSpec:
    raw = json.loads(path.read_text())
    raw["services"] = [Service(**service) for service in raw["services"]]
    raw["binds"] = [(outside, inside) for outside, inside in raw["binds"]]
    return NodeSpec(**raw)
