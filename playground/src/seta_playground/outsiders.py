"""Processes that step into a place of a cluster from outside: `playground exec`, image imports, the forwarder.

They join the place's cgroup first, so that what is attached there (socket load balancing) acts on them too, and
so that `down` finds them.
"""

import os
import subprocess
from pathlib import Path

from seta_playground import cgroups, plan, state
from seta_playground.errors import PlaygroundError

JOIN = 'for group in $1; do echo $$ >"$group" || exit 1; done; shift; exec "$@"'


def command(cluster: state.Cluster, place: str, argv: list[str]) -> list[str]:
    """The argument list that runs `argv` inside a place."""
    groups = " ".join(map(str, cgroups.leaves(cgroups.of_place(cluster.name, place))))
    return ["sh", "-c", JOIN, "playground", groups, *_enter(cluster, place), "--", *argv]


def _enter(cluster: state.Cluster, place: str) -> list[str]:
    if place in plan.OUTSIDE:
        return ["nsenter", f"--net=/run/netns/{cluster.plan.netns(place)}"]
    cluster.plan.node(place)
    pid = cluster.node_pid(place)
    if pid is None:
        raise PlaygroundError(f"{place} does not run: see `playground status --name {cluster.name}`")
    kinds = ["--mount", "--uts", "--net", "--pid", "--cgroup", "--root"]
    return ["nsenter", f"--target={pid}", *kinds, "--wd"]


def run(cluster: state.Cluster, place: str, argv: list[str], *, stdin: Path | None = None) -> str:
    """Run a command inside a place to its end and return what it printed."""
    with (stdin or Path(os.devnull)).open("rb") as source:
        done = subprocess.run(command(cluster, place, argv), stdin=source, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise PlaygroundError(f"on {place}, `{' '.join(argv)}` failed with {done.returncode}: {said}")
    return done.stdout.decode(errors="replace")


def become(cluster: state.Cluster, place: str, argv: list[str]) -> None:
    """Become a command inside a place; returns only by raising."""
    whole = command(cluster, place, argv)
    os.execvp(whole[0], whole)
