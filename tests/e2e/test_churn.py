"""A hundred pods come and go, and nothing is left of them."""

import yaml

from tests.e2e.steps import TOOLBOX, Bench, eventually

COUNT = 100
WORKERS = ("k8s-w1", "k8s-w2")


def deployment(replicas: int) -> dict:
    labels = {"app": "churn"}
    container = {"name": "main", "image": TOOLBOX, "command": ["sleep", "infinity"], "imagePullPolicy": "IfNotPresent"}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "churn", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def traces(bench: Bench, node: str) -> dict[str, int]:
    """What pods leave on a node while they run: links, policy maps, link pins, routes, state files."""
    count = {
        "links": "ip -o link show type veth | grep -c lxc",
        "policy maps": "ls /sys/fs/bpf/tc/globals | grep -c cilium_policy_v2_",
        "link pins": "ls /sys/fs/bpf/seta/links | grep -c lxc",
        "routes": "ip route | grep -c lxc",
        "state files": "ls /var/run/seta/state/endpoints | grep -c json",
    }
    return {what: int(bench.cluster.exec(node, "sh", "-c", f"{script} || true")) for what, script in count.items()}


def test_a_hundred_pods_leave_nothing_behind(bench: Bench):
    before = {node: traces(bench, node) for node in WORKERS}
    endpoints = len(bench.get("ciliumendpoints", "-n", "default")["items"])
    bench.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(deployment(COUNT)).encode())
    bench.kubectl("rollout", "status", "deployment/churn", "--timeout=300s")
    assert len(bench.get("ciliumendpoints", "-n", "default")["items"]) == endpoints + COUNT
    bench.kubectl("delete", "deployment", "churn")
    bench.kubectl("wait", "--for=delete", "pod", "-l", "app=churn", "--timeout=300s")
    for node in WORKERS:
        eventually(lambda node=node: traces(bench, node) == before[node], f"{node} is as before", 60)
    eventually(lambda: len(bench.get("ciliumendpoints", "-n", "default")["items"]) == endpoints, "no endpoint is left")
