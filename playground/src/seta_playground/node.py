"""Starting a node: writes what it is made of and runs node_init, which makes and becomes it.

Called by up.py, for all nodes at once. What a node is made of is a NodeSpec; the network adds what it needs.
"""

import subprocess
import sys
from pathlib import Path

from seta_playground import (
    binaries,
    cgroups,
    containerd,
    controlplane,
    kubeconfig,
    kubelet,
    network,
    paths,
    pki,
    plan,
    state,
)
from seta_playground.errors import PlaygroundError
from seta_playground.node_spec import NodeSpec

PLUGINS = Path("/usr/lib/cni")
API = f"https://{plan.CONTROL_PLANE_ADDRESS}:{plan.API_PORT}"
CONTROL_PLANE_CLIENTS = ("kube-controller-manager", "kube-scheduler")


def start(cluster: state.Cluster, node: plan.Node, spec: NodeSpec) -> None:
    """Start the node; returns when its namespaces stand and its services are being started."""
    file = cluster.node_directory(node.name) / "spec.json"
    spec.write(file)
    log = cluster.logs / f"node@{node.name}.log"
    with log.open("ab") as out:
        command = [sys.executable, "-I", "-m", "seta_playground.node_init", str(file)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False, start_new_session=True
        )
    if done.returncode != 0:
        raise PlaygroundError(f"node {node.name} did not start:\n{log.read_text()[-2000:]}")


def spec(
    cluster: state.Cluster,
    node: plan.Node,
    programs: binaries.Binaries,
    additions: network.Additions,
) -> NodeSpec:
    """What every node is made of, plus what the network adds."""
    directory = cluster.node_directory(node.name)
    scratch = directory / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    data = paths.data_dir(cluster.name) / node.name
    (data / "kubelet").mkdir(parents=True, exist_ok=True)
    own = [(str(path), str(path)) for path in programs.directories()]
    services = [containerd.service(), kubelet.service(programs.path("kubelet"), node), *additions.services]
    decides = node == cluster.plan.control_plane
    return NodeSpec(
        name=node.name,
        netns=f"/run/netns/{cluster.plan.netns(node.name)}",
        cgroup=cgroups.of_place(cluster.name, node.name),
        scratch=str(scratch),
        logs=str(cluster.logs),
        record=str(directory / "init"),
        binds=[
            (str(data / "containerd"), containerd.ROOT),
            (str(data / "kubelet"), "/var/lib/kubelet"),
            (str(directory / "kubernetes"), "/etc/kubernetes"),
            *own,
        ],
        files={
            containerd.CONFIG: containerd.config(),
            **_names(cluster.plan, node),
            **additions.files,
            **(controlplane.files() if decides else {}),
        },
        links={f"/opt/cni/bin/{plugin}": str(PLUGINS / plugin) for plugin in additions.plugins},
        services=[*(controlplane.services(programs) if decides else []), *services],
    )


def write_configuration(cluster: state.Cluster, node: plan.Node) -> None:
    """Fill the directory that the node sees as /etc/kubernetes: its own certificates, no other node's."""
    directory = cluster.node_directory(node.name) / "kubernetes"
    (directory / "pki").mkdir(parents=True, exist_ok=True, mode=0o700)
    proxied = cluster.settings.network == "plain"
    mine = [f"kubelet-{node.name}", *(["kube-proxy"] if proxied else [])]
    _copy(cluster.pki / "ca.crt", directory / "pki")
    for name in mine:
        for kind in ("crt", "key"):
            _copy(cluster.pki / f"{name}.{kind}", directory / "pki")
    user = f"kubelet-{node.name}"
    (directory / "kubelet.yaml").write_text(kubelet.config(node))
    (directory / "kubelet.conf").write_text(kubeconfig.for_component(user, API, controlplane.PKI))
    if proxied:
        (directory / "kube-proxy.conf").write_text(kubeconfig.for_component("kube-proxy", API, controlplane.PKI))
    if node == cluster.plan.control_plane:
        for file in cluster.pki.iterdir():
            if file.stem not in {"admin", *(f"kubelet-{other.name}" for other in cluster.plan.nodes[1:])}:
                _copy(file, directory / "pki")
        for name in CONTROL_PLANE_CLIENTS:
            (directory / f"{name}.conf").write_text(kubeconfig.for_component(name, API, controlplane.PKI))


def _copy(file: Path, into: Path) -> None:
    pki.write_secret(into / file.name, file.read_bytes())


def _names(cluster: plan.Plan, node: plan.Node) -> dict[str, str]:
    hosts = [f"{other.address} {other.name}" for other in cluster.nodes]
    hosts += ["127.0.0.1 localhost", f"{plan.WORLD_ADDRESS} {plan.WORLD}"]
    return {
        "/etc/hostname": f"{node.name}\n",
        "/etc/hosts": "\n".join([*hosts, ""]),
        "/etc/resolv.conf": "# no name server: nothing beyond the world host exists here\n",
    }
