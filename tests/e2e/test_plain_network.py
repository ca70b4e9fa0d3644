"""The playground without Seta: real Kubernetes on Debian's plugins and kube-proxy, once in each of kube-proxy's modes.

What fails with Seta and passes here is Seta's fault.
"""

import hashlib
import io
import json
import pathlib
import re
import tarfile

import pytest

from tests.e2e.conftest import playground
from tests.e2e.steps import Bench, eventually, pod, service

PODS = (pod("near", "k8s-w1"), pod("steady", "k8s-w1"), pod("far", "k8s-w2"))
SERVICE = service("steady", {"app": "steady"})


@pytest.fixture(scope="module")
def addresses(plain_bench: Bench):
    found = plain_bench.start(*PODS)
    plain_bench.serve("steady")
    plain_bench.apply(SERVICE)
    return found


def test_three_nodes_are_ready_and_one_is_the_control_plane(plain_bench: Bench):
    nodes = {node["metadata"]["name"]: node for node in plain_bench.get("nodes")["items"]}
    assert set(nodes) == {"k8s-s", "k8s-w1", "k8s-w2"}
    assert "node-role.kubernetes.io/control-plane" in nodes["k8s-s"]["metadata"]["labels"]
    assert all(node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.36") for node in nodes.values())


@pytest.mark.parametrize("client", ["near", "far"])
def test_pods_reach_a_pod_on_their_node_and_on_another(plain_bench: Bench, addresses, client: str):
    assert plain_bench.connects(client, addresses["steady"])


def test_pods_reach_a_service_by_its_name(plain_bench: Bench, addresses):
    eventually(lambda: plain_bench.connects("far", "steady.default.svc.cluster.local"), "the service answers")


def test_names_that_there_are_not_are_answered_at_once(plain_bench: Bench, addresses):
    answer = plain_bench.shell("near", "dig +time=2 +tries=1 www.example.org")
    assert "status: SERVFAIL" in answer.stdout


def test_nodes_and_pods_reach_the_world_and_it_reaches_nodes(plain_bench: Bench, addresses):
    world, node = "192.168.20.10", "192.168.10.101"
    plain_bench.cluster.exec("k8s-w2", "ping", "-c1", "-W2", world)
    assert plain_bench.shell("near", f"ping -c1 -W2 {world}").returncode == 0
    plain_bench.cluster.exec("world", "ping", "-c1", "-W2", node)


def test_logs_and_exec_reach_pods_through_the_kubelet(plain_bench: Bench, addresses):
    assert plain_bench.shell("far", "hostname").stdout == "far\n"
    assert plain_bench.cluster.try_kubectl("logs", "far").returncode == 0


def test_a_node_sees_only_itself(plain_bench: Bench):
    shown = plain_bench.cluster.exec(
        "k8s-w1", "sh", "-c", "hostname; ls /sys/fs/bpf; cat /proc/self/cgroup; ip -br link"
    )
    assert shown.startswith("k8s-w1\n")
    assert "playground" not in shown
    assert "ens5" in shown


def test_a_killed_kubelet_comes_back(plain_bench: Bench):
    def pid() -> str:
        return plain_bench.cluster.try_exec("k8s-w2", "pgrep", "-x", "kubelet").stdout

    before = pid()
    plain_bench.cluster.exec("k8s-w2", "pkill", "-9", "-x", "kubelet")
    eventually(lambda: pid() not in ("", before), "kubelet runs again")


def test_a_loaded_image_runs_on_every_node(plain_bench: Bench, tmp_path):
    name = "example.org/loaded:1"
    playground("load", "--name", plain_bench.cluster.name, str(image(tmp_path, name, plain_bench.netbench)))
    nodes = [node["metadata"]["name"] for node in plain_bench.get("nodes")["items"]]
    pods = [pod(f"loaded-{node}", node) for node in nodes]
    for one in pods:
        one["spec"]["containers"] = [{"name": "main", "image": name, "imagePullPolicy": "Never"}]
    plain_bench.apply(*pods)
    for one in pods:
        plain_bench.kubectl("wait", "--for=condition=Ready", f"pod/{one['metadata']['name']}", "--timeout=120s")


def image(directory: pathlib.Path, name: str, program: bytes) -> pathlib.Path:
    """An archive as `docker save` writes it, of an image that runs this program and holds nothing else."""
    layer = directory / "layer.tar"
    pack(layer, {"netbench": program})
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/netbench", "serve", "7000", "0"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    saved = {"config.json": config, "manifest.json": manifest}
    members = {file: json.dumps(content).encode() for file, content in saved.items()}
    return pack(directory / "image.tar", members | {"layer.tar": layer.read_bytes()})


def pack(path: pathlib.Path, members: dict[str, bytes]) -> pathlib.Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("component", "says"),
    [("kube-apiserver", "192.168.10.10"), ("kubelet --node k8s-w1", "k8s-w1"), ("coredns", "CoreDNS-")],
)
def test_a_components_log_is_shown_be_it_a_program_or_a_pod(plain_bench: Bench, component: str, says: str):
    assert says in playground("logs", "--name", plain_bench.cluster.name, *component.split())


def test_who_asks_for_a_log_that_there_is_not_is_told_which_there_are(plain_bench: Bench):
    asked = plain_bench.cluster.try_run("playground", "logs", "--name", plain_bench.cluster.name, "kubelett")
    assert asked.returncode == 1
    assert re.search(r"no log of 'kubelett': there are .*kubelet, ", asked.stderr)
