"""What `playground` does besides `up`: down, status, env, exec, load and logs. Called by cli.py."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from seta_playground import api, cgroups, cleanup, containerd, locks, outsiders, plan, processes, state, up
from seta_playground.errors import PlaygroundError
from seta_playground.progress import Progress

POD_COMPONENTS = {  # what people call it -> the label of its pods
    "seta": "k8s-app=seta",
    "seta-agent": "k8s-app=seta",
    "seta-operator": "name=seta-operator",
    "coredns": "k8s-app=kube-dns",
}


def down(name: str, progress: Progress) -> None:
    with locks.held(up.lock_file(name)):
        if not cleanup.left_over(name):
            progress.say(f"cluster {name}: nothing to remove")
            return
        with progress.step(f"cluster {name} removed"):
            cleanup.remove(name)


def down_all(progress: Progress) -> None:
    for name in cleanup.clusters():
        down(name, progress)


def status(name: str) -> None:
    """What runs, where, and what it costs."""
    cluster = state.running(name)
    settings = cluster.settings
    print(f"cluster      {name}: {cluster.phase}, network {settings.network} {settings.kube_proxy}".rstrip())
    print(f"API server   https://127.0.0.1:{cluster.port}  (KUBECONFIG={cluster.kubeconfig})")
    ready = api.Api(cluster).nodes() if cluster.port else {}
    for node in cluster.plan.nodes:
        kubernetes = {None: "unknown to Kubernetes", True: "Ready", False: "NotReady"}[ready.get(node.name)]
        runs = cluster.node_pid(node.name)
        print(
            f"node         {node.name:8} {node.address:16} {f'pid {runs}' if runs else 'does not run':14} {kubernetes}"
        )
    print(f"world        {plan.WORLD_ADDRESS}, behind the router {plan.LAN_ROUTER}")
    _print_memory(name)


def _print_memory(name: str) -> None:
    used: dict[str, list[int]] = {}  # program -> resident KiB of each of its processes
    for pid in cgroups.processes(name):
        try:
            program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        used.setdefault(Path(program).name, []).append(processes.rss_kib(pid))
    for program, sizes in sorted(used.items(), key=lambda entry: -sum(entry[1])):
        print(f"memory       {program:28} {len(sizes):3} x  {sum(sizes) / 1024:7.1f} MiB")
    total = sum(sum(sizes) for sizes in used.values())
    count = sum(map(len, used.values()))
    print(f"memory       {'in all':28} {count:3} x  {total / 1024:7.1f} MiB (shared pages counted in each)")


def env(name: str) -> None:
    """Shell commands that put the cluster's kubectl, helm and seta within reach."""
    cluster = state.running(name)
    if not cluster.port:
        raise PlaygroundError(f"cluster {name} never got an API server: `playground up --name {name}` starts it again")
    directories = [*cluster.binaries, str(Path(sys.executable).parent)]
    print(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
    print(f'export PATH={shlex.quote(":".join(directories))}:"$PATH"')


def execute(name: str, place: str, argv: list[str]) -> None:
    """Become a command inside a node or the world."""
    if not argv:
        raise PlaygroundError("no command: `playground exec NODE|world -- COMMAND`")
    outsiders.become(state.running(name), place, argv)


def load(name: str, tar: Path, progress: Progress) -> None:
    """Bring an image archive to every node."""
    cluster = state.running(name)
    if not tar.is_file():
        raise PlaygroundError(f"{tar} is no file: give an archive as `docker save` or `buildah push` write it")
    for node in cluster.plan.nodes:
        with progress.step(f"{tar.name} to {node.name}"):
            outsiders.run(cluster, node.name, containerd.import_command("-"), stdin=tar)


def logs(name: str, component: str, node: str | None, *, follow: bool) -> None:
    """Become a command that shows a component's log."""
    cluster = state.running(name)
    if component in POD_COMPONENTS:
        _pod_logs(cluster, component, node, follow=follow)
    files = sorted(cluster.logs.glob(f"{component}@{node or '*'}.log")) or sorted(cluster.logs.glob(f"{component}.log"))
    if not files:
        known = {file.stem.partition("@")[0] for file in cluster.logs.glob("*.log")} | set(POD_COMPONENTS)
        raise PlaygroundError(
            f"no log of {component!r}{f' on {node}' if node else ''}: there are {', '.join(sorted(known))}"
        )
    os.execvp("tail", ["tail", "-n", "+1", *(["-F"] if follow else []), *map(str, files)])


def _pod_logs(cluster: state.Cluster, component: str, node: str | None, *, follow: bool) -> None:
    kubectl = next(path for path in (Path(directory) / "kubectl" for directory in cluster.binaries) if path.exists())
    base = [str(kubectl), "--kubeconfig", str(cluster.kubeconfig), "--namespace", "kube-system"]
    what = ["--selector", POD_COMPONENTS[component], "--prefix"]
    if node:
        cluster.plan.node(node)
        query = [
            *base,
            "get",
            "pods",
            "-l",
            POD_COMPONENTS[component],
            "--field-selector",
            f"spec.nodeName={node}",
            "-o",
            "name",
        ]
        what = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[:1]
    tail = ["--tail=-1", "--all-containers", *(["--follow"] if follow else [])]
    os.execv(kubectl, [*base, "logs", *what, *tail])
