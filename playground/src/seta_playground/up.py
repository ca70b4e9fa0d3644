"""`playground up`: from nothing, or from what a killed `up` left, to a cluster whose nodes and pods are Ready.

The steps stand in `_bring_up` in their order. Whatever fails stays as it is, to be looked at; the next `up` of
that name removes it first.
"""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from seta_playground import (
    api,
    binaries,
    cgroups,
    cleanup,
    containerd,
    dns,
    install,
    kubeconfig,
    lan,
    locks,
    network,
    node,
    paths,
    pki,
    plan,
    processes,
    state,
)
from seta_playground.errors import PlaygroundError
from seta_playground.progress import Progress

FORWARDER_PLACE = "machine"  # the forwarder's cgroup: it stands in no node
PREFERRED_PORT = 6443
API_TIMEOUT = 60.0  # seconds
NODES_TIMEOUT = 180.0
WORKLOADS_TIMEOUT = 180.0
STAYS = "It stays to be looked at: `playground status|logs|exec --name {name}`. The next `up`, or `down`, removes it."
ROLE = "node-role.kubernetes.io/control-plane"


@dataclass(frozen=True)
class Parts:
    """What a cluster is put together from."""

    programs: binaries.Binaries
    images: Path  # a containerd root with every image in it
    network: network.Network


def up(name: str, settings: state.Settings, progress: Progress, ready_binaries: str | None = None) -> state.Cluster:
    """Bring the cluster up; returns at once where it is up with the same settings."""
    plan.make(name, settings.nodes)
    with locks.held(lock_file(name)):
        already = _already_up(name, settings)
        if already:
            progress.say(f"cluster {name} is up already")
            return already
        if cleanup.left_over(name):
            with progress.step(f"removing what an earlier cluster {name} left"):
                cleanup.remove(name)
        programs = install.programs(progress, ready_binaries)
        kind = network.of(settings, programs)
        kind.check()
        images = install.images(progress, programs, seta=settings.network == "seta")
        own = processes.record(os.getpid())
        directories = tuple(map(str, programs.directories()))
        cluster = state.Cluster(name, settings, state.STARTING, own, binaries=directories)
        cluster.save()
        try:
            cluster = _bring_up(cluster, Parts(programs, images, kind), progress)
        except KeyboardInterrupt:
            with progress.step(f"interrupted: removing cluster {name}"):
                cleanup.remove(name)
            raise
        except PlaygroundError as error:
            raise PlaygroundError(f"{error}\n{STAYS.format(name=name)}") from error
        return cluster.but(phase=state.RUNNING)


def lock_file(name: str) -> Path:
    """Held by `up` and `down`. In the cache, as the run directory comes and goes."""
    return paths.cache_dir() / "locks" / name


def _already_up(name: str, settings: state.Settings) -> state.Cluster | None:
    known = state.load(name)
    if known is None or known.phase != state.RUNNING or not all(known.node_pid(n.name) for n in known.plan.nodes):
        return None
    if known.settings != settings:
        raise PlaygroundError(f"cluster {name} is up with other settings: `playground down --name {name}` first")
    return known


def _bring_up(cluster: state.Cluster, parts: Parts, progress: Progress) -> state.Cluster:
    cluster.logs.mkdir(mode=0o700)
    with progress.step(f"LAN {plan.LAN} with {len(cluster.plan.nodes)} nodes, router and world"):
        for place in plan.OUTSIDE:
            cgroups.make(cgroups.of_place(cluster.name, place))
        lan.create(cluster.plan)
        parts.network.connect(cluster.plan)
    with progress.step("certificates"):
        pki.create(cluster.pki, cluster.plan)
    cluster = _start_forwarder(cluster)
    with progress.step("nodes: namespaces, images, containerd"):
        _start_nodes(cluster, parts)
    asked = api.Api(cluster)
    with progress.step(f"API server on https://127.0.0.1:{cluster.port}"):
        api.wait(
            asked.ready,
            API_TIMEOUT,
            lambda: f"kube-apiserver ready: `playground logs kube-apiserver --name {cluster.name}`",
        )
    with progress.step("CoreDNS manifest"):
        _kubectl_apply(cluster, parts, dns.manifest())
    parts.network.install(cluster, progress)
    _wait_until_ready(cluster, asked, progress)
    return cluster


def _start_forwarder(cluster: state.Cluster) -> state.Cluster:
    control_plane = cluster.plan.control_plane
    with _listener() as listener, (cluster.logs / "forwarder.log").open("ab") as log:
        port = listener.getsockname()[1]
        netns = f"/run/netns/{cluster.plan.netns(control_plane.name)}"
        group = cgroups.of_place(cluster.name, FORWARDER_PLACE)
        arguments = [str(listener.fileno()), netns, group, control_plane.address, str(plan.API_PORT)]
        command = [sys.executable, "-I", "-m", "seta_playground.forwarder", *arguments]
        forwarder = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    kubeconfig.write_admin(cluster.kubeconfig, cluster.name, f"https://127.0.0.1:{port}", cluster.pki)
    return cluster.but(port=port, forwarder=processes.record(forwarder.pid))


def _listener() -> socket.socket:
    """A listening socket on the usual port, or on any where that is taken (by another cluster, say)."""
    for port in (PREFERRED_PORT, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(128)
        return listener
    raise PlaygroundError("no port is free on 127.0.0.1")


def _start_nodes(cluster: state.Cluster, parts: Parts) -> None:
    """All at once; the control plane's first, as the others wait for its API server."""

    def start(one: plan.Node) -> None:
        spec = node.spec(cluster, one, parts.programs, parts.network.additions(one))
        containerd.copy_template(parts.images, paths.data_dir(cluster.name) / one.name / "containerd")
        node.write_configuration(cluster, one)
        node.start(cluster, one, spec)

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(start, cluster.plan.nodes))


def _kubectl_apply(cluster: state.Cluster, parts: Parts, manifest: str) -> None:
    kubectl = parts.programs.path("kubectl")
    command = [str(kubectl), "--kubeconfig", str(cluster.kubeconfig), "apply", "-f", "-"]
    done = subprocess.run(command, input=manifest, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PlaygroundError(f"kubectl apply failed: {done.stderr.strip()}")


def _wait_until_ready(cluster: state.Cluster, asked: api.Api, progress: Progress) -> None:
    names = {one.name for one in cluster.plan.nodes}

    def missing() -> str:
        return ", ".join(sorted(names - {name for name, ready in asked.nodes().items() if ready}))

    def nodes_ready() -> bool:
        lacking = missing()
        progress.note(f"waiting for nodes: {lacking}")
        return not lacking

    def workloads_ready() -> bool:
        lacking = asked.unready_workloads()
        progress.note(f"waiting for pods: {', '.join(lacking)}")
        return not lacking

    with progress.step(f"{len(names)} nodes Ready"):
        api.wait(nodes_ready, NODES_TIMEOUT, lambda: f"nodes Ready: {missing()}")
        asked.label_node(cluster.plan.control_plane.name, ROLE)
    with progress.step("pods of kube-system Ready"):
        lacking = lambda: f"pods of kube-system Ready: {', '.join(asked.unready_workloads())}"  # noqa: E731
        api.wait(workloads_ready, WORKLOADS_TIMEOUT, lacking)
