"""One node for the whole module: an agent's life from its first start on an empty node."""

import os
import pathlib
import shutil
from collections.abc import Iterator

import pytest

from tests.datapath.cni.node import NODES, PODS_PATH, ROOT, Node, must

IDENTITY_LABELS = {
    "k8s:io.kubernetes.pod.namespace": "default",
    "k8s:io.cilium.k8s.policy.cluster": "default",
    "k8s:io.cilium.k8s.policy.serviceaccount": "default",
}


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    if shutil.which("gcc") is None:
        pytest.skip("the CNI plugin is built here: gcc needed")
    directory = tmp_path_factory.mktemp("plugin")
    must("make", "-s", "-C", str(ROOT / "nodeagent/plugin"), f"BUILD={directory}")
    return directory / "seta-cni"


@pytest.fixture(scope="module")
def node(plugin: pathlib.Path) -> Iterator[Node]:
    if os.geteuid():
        pytest.skip("the agent programs a kernel: root needed")
    made = Node(plugin)
    made.api.put("/api/v1/namespaces/default", {})
    addresses = [{"type": "InternalIP", "ip": "192.168.50.1"}, {"type": "CiliumInternalIP", "ip": "10.9.1.1"}]
    made.api.put(f"{NODES}/aw-node", {"spec": {"addresses": addresses, "ipam": {"podCIDRs": ["10.9.1.0/24"]}}})
    for number, app in ((4001, "one"), (4002, "two")):
        labels = {"security-labels": {**IDENTITY_LABELS, "k8s:app": app}}
        made.api.put(f"/apis/cilium.io/v2/ciliumidentities/{number}", labels)
        pod = {"metadata": {"labels": {"app": app}}, "spec": {"nodeName": "aw-node", "serviceAccountName": "default"}}
        made.api.put(f"{PODS_PATH}/{app}", pod)
    made.start_agent()
    yield made
    made.close()
