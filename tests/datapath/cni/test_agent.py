"""The agent and the plugin as they ship, on a node made of namespaces: a story, each test a step of it."""

import json
import re
import signal
import subprocess

import pytest

from tests.datapath.cni.node import DIRECTORY, NODE, PODS_PATH, eventually, must, run

SETA = "/apis/seta.dev/v1alpha1"
DROP = re.compile(r"xx drop \(Policy denied\) flow 0x\w+ to endpoint 2, ifindex \d+, file \w+\.\w+:\d+, , ")
FIRST, SECOND = "10.9.1.2", "10.9.1.3"


def ping(namespace: str, address: str) -> bool:
    return run("ip", "netns", "exec", namespace, "ping", "-c1", "-W1", address).returncode == 0


def test_an_empty_node_becomes_ready_and_installs_the_plugin(node):
    status = node.wait_ready()
    assert status["rss_bytes"] < 90 << 20, status
    conflist = DIRECTORY / "cni-conf/05-seta.conflist"
    eventually(conflist.exists, node.log)
    installed = json.loads(conflist.read_text())
    assert installed["plugins"][0]["type"] == "seta-cni"
    assert (DIRECTORY / "cni-bin/seta-cni").stat().st_mode & 0o777 == 0o755


def test_status_says_that_the_node_takes_pods(node):
    assert node.cni("STATUS", "", "") == (0, {})


@pytest.mark.parametrize(("namespace", "pod", "address"), [("aw-pod1", "one", FIRST), ("aw-pod2", "two", SECOND)])
def test_add_makes_the_pods_interface(node, namespace, pod, address):
    code, answer = node.cni("ADD", namespace, pod)
    assert (code, answer["ips"][0]["address"]) == (0, f"{address}/32"), answer
    assert f"inet {address}/32" in must("ip", "-n", namespace, "address", "show", "eth0")
    assert "default via 10.9.1.1 dev eth0" in must("ip", "-n", namespace, "route")


def test_pods_reach_each_other_and_the_node(node):
    assert ping("aw-pod1", SECOND)
    assert ping("aw-pod2", "192.168.50.1")
    assert run("ip", "netns", "exec", NODE, "ping", "-c1", "-W1", FIRST).returncode == 0


def test_each_pod_has_a_cilium_endpoint(node):
    path = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints/one"
    written = eventually(lambda: node.api.objects("ciliumendpoints").get(path), node.log)
    assert written["status"]["identity"]["id"] == 4001
    assert written["status"]["networking"] == {"addressing": [{"ipv4": FIRST}], "node": "192.168.50.1"}
    assert written["metadata"]["ownerReferences"][0]["uid"] == f"uid-{PODS_PATH}/one"


def test_check_agrees(node):
    assert node.cni("CHECK", "aw-pod1", "one") == (0, {})


def test_a_config_that_is_no_json_is_a_sentence(node):
    code, answer = node.cni("ADD", "aw-pod1", "one", config="{broken")
    assert (code, answer["code"]) == (6, 6) or answer["code"] == 11  # without JSON the plugin knows no socket of ours
    assert answer["msg"]


@pytest.mark.parametrize(
    "words",
    [
        "status --verbose",
        "endpoint list",
        "endpoint get 1",
        "identity list",
        "identity get 4001",
        "ip list -n -v",
        "service list",
        "policy get",
        "bpf lb list",
        "bpf policy get 1",
        "bpf policy get --all",
        "policy selectors",
        "endpoint config 1",
        "bpf ipcache list",
        "bpf ct list",
        "bpf endpoint list",
        "bpf metrics list",
        "map list",
        "map list --verbose",
        "map get cilium_lxc",
        "map get cilium_metrics",
        "config --all",
    ],
)
def test_every_command_answers_from_the_kernel_and_the_tables(node, words):
    shown = node.seta(*words.split())
    assert (shown.returncode, shown.stderr) == (0, "")
    json.loads(node.seta(*words.split(), "-o", "json").stdout)


def test_the_endpoint_list_shows_both_pods(node):
    rows = node.seta("endpoint", "list").stdout.splitlines()
    assert next(row.split() for row in rows if FIRST in row)[:4] == ["1", "Disabled", "Disabled", "4001"]


def test_what_does_not_exist_is_one_sentence(node):
    for words in ("endpoint get 99", "map get nothing", "bpf policy get 99", "identity get 77"):
        shown = node.seta(*words.split())
        assert shown.returncode == 1
        assert re.fullmatch(r"seta: [^\n]+\n", shown.stderr), shown.stderr


def test_the_monitor_tells_of_a_drop(node):
    rule = {"subject": "ss-two", "ingress": {"defaultDeny": True, "entries": []}}
    node.api.put(f"{SETA}/selectorsets/ss-two", {"spec": {"selector": "app=two", "identities": [4002]}})
    source = {"kind": "CiliumNetworkPolicy", "namespace": "default", "name": "nobody", "generation": 1}
    node.api.put(f"{SETA}/compiledpolicies/cnp.default.nobody", {"spec": {"source": source, "rules": [rule]}})
    eventually(lambda: not ping("aw-pod1", SECOND), "the policy is enforced")
    command = ["timeout", "20", *node.seta_command, "monitor", "--type", "drop"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=node.environment) as watching:
        eventually(lambda: json.loads(node.seta("status", "-o", "json").stdout)["monitor_listeners"], "it listens")
        assert not ping("aw-pod1", SECOND)
        line = watching.stdout.readline()
        watching.terminate()
    assert DROP.match(line), line
    assert f"identity 4001->4002: {FIRST} -> {SECOND} icmp EchoRequest" in line
    node.api.remove(f"{SETA}/compiledpolicies/cnp.default.nobody")
    eventually(lambda: ping("aw-pod1", SECOND), "the policy is gone")


def test_a_killed_agent_leaves_the_datapath_and_knows_its_pods_when_it_is_back(node):
    node.kill_agent()
    assert ping("aw-pod1", SECOND)
    assert node.cni("ADD", "aw-pod1", "one")[1]["code"] == 11
    assert node.cni("STATUS", "", "")[0] == 50
    node.start_agent()
    node.wait_ready()
    assert ping("aw-pod1", SECOND)
    assert node.cni("ADD", "aw-pod1", "one")[1]["ips"][0]["address"] == f"{FIRST}/32"


def test_delete_leaves_nothing_and_can_be_repeated(node):
    for namespace, pod in (("aw-pod1", "one"), ("aw-pod2", "two")):
        assert node.cni("DEL", namespace, pod) == (0, {})
        assert node.cni("DEL", namespace, pod) == (0, {})
    assert "lxc" not in must("ip", "-n", NODE, "link")
    assert not list((DIRECTORY / "run/state/endpoints").iterdir())
    assert not list((DIRECTORY / "bpf/tc/globals").glob("cilium_policy_v2_*"))
    eventually(lambda: not node.api.objects("ciliumendpoints"), "the CiliumEndpoints are gone")


def test_an_ended_agent_leaves_the_conflist_while_its_daemonset_exists(node):
    daemonset = "/apis/apps/v1/namespaces/kube-system/daemonsets/seta"
    node.api.put(daemonset, {})
    node.kill_agent(signal.SIGTERM)
    assert (DIRECTORY / "cni-conf/05-seta.conflist").exists()
    node.api.remove(daemonset)
    node.start_agent()
    node.wait_ready()
    node.kill_agent(signal.SIGTERM)
    assert not (DIRECTORY / "cni-conf/05-seta.conflist").exists()
