"""The session of the README, command by command."""

import pathlib
import re
import select

import pytest

from tests.e2e.steps import Bench, eventually

STARWARS = pathlib.Path(__file__).parents[2] / "examples/starwars"
LANDING = "curl -s --max-time 2 -XPOST deathstar.default.svc.cluster.local/v1/request-landing"


@pytest.fixture(scope="module")
def app(bench: Bench):
    bench.kubectl("apply", "-f", str(STARWARS / "http-sw-app.yaml"))
    bench.kubectl("rollout", "status", "deployment/deathstar", "--timeout=120s")
    bench.kubectl("wait", "--for=condition=Ready", "pod/tiefighter", "pod/xwing", "--timeout=120s")
    yield bench
    bench.kubectl("delete", "--ignore-not-found", "-f", str(STARWARS / "sw_l3_l4_policy.yaml"))
    bench.kubectl("delete", "-f", str(STARWARS / "http-sw-app.yaml"), "--wait")


def landed(bench: Bench, ship: str) -> bool:
    return "Ship landed" in bench.shell(ship, LANDING).stdout


def test_nodes_are_ready_real_kubelets(bench: Bench):
    nodes = {node["metadata"]["name"]: node["status"] for node in bench.get("nodes")["items"]}
    assert set(nodes) == {"k8s-s", "k8s-w1", "k8s-w2"}
    for status in nodes.values():
        assert any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
        assert status["nodeInfo"]["kubeletVersion"].startswith("v1.36")


def test_without_a_policy_both_ships_land(app: Bench):
    eventually(lambda: landed(app, "tiefighter"), "tiefighter lands")
    eventually(lambda: landed(app, "xwing"), "xwing lands")


def test_the_policy_keeps_the_alliance_out_and_says_so(app: Bench):
    app.kubectl("apply", "-f", str(STARWARS / "sw_l3_l4_policy.yaml"))
    eventually(lambda: not landed(app, "xwing"), "xwing is denied")
    assert landed(app, "tiefighter")
    header, row = app.kubectl("get", "cnp").splitlines()
    assert header.split() == ["NAME", "AGE", "VALID"]
    assert row.split()[0] == "rule1"
    assert row.split()[2] == "True"


def test_the_policy_says_where_it_is_enforced(app: Bench):
    def enforced() -> bool:
        conditions = {one["type"]: one for one in app.get("cnp", "rule1")["status"]["conditions"]}
        told = conditions.get("Enforced", {})
        return told.get("status") == "True" and told["message"].startswith("3 of 3 nodes enforce revision ")

    eventually(enforced, "all nodes report it")


def test_the_drop_is_seen_where_it_happened(app: Bench):
    watching = app.cluster.popen_seta("monitor", "--type", "drop")
    try:
        for _ in range(10):  # the monitor starts at the end of the ring: what came before it was there is not told
            assert not landed(app, "xwing")
            if select.select([watching.stdout], [], [], 1)[0]:
                break
    finally:
        watching.terminate()
    out, _ = watching.communicate(timeout=20)
    drops = [line for line in out.splitlines() if "xx drop (Policy denied)" in line]
    assert drops, out
    assert re.search(r"identity \d+->\d+: 10\.\S+:\d+ -> 10\.\S+:80 tcp SYN", drops[0])


def test_endpoint_list_shows_the_enforcement(app: Bench):
    listed = app.cluster.seta("endpoint", "list")
    assert "POLICY (ingress)" in listed
    deathstar = [line for line in listed.splitlines() if "class=deathstar" in line or "Enabled" in line]
    assert any("Enabled" in line for line in deathstar)


def test_the_rule_that_explain_suggests_lets_the_alliance_land_and_nothing_else(app: Bench):
    deathstar = app.get("pods", "-l", "class=deathstar")["items"][0]["metadata"]["name"]
    ends = ("--from", "default/xwing", "--to", f"default/{deathstar}", "--port", "80/TCP")
    denied = app.cluster.try_run("seta", "policy", "explain", *ends)
    assert denied.returncode == 1
    assert "CiliumNetworkPolicy default/rule1 denies what none allows" in denied.stdout
    printed = app.cluster.try_run("seta", "policy", "explain", *ends, "--rule").stdout
    assert not landed(app, "xwing")
    app.kubectl("apply", "-f", "-", stdin=printed.encode())
    try:
        eventually(lambda: landed(app, "xwing"), "xwing lands")
        assert ": allowed" in app.cluster.seta("policy", "explain", *ends).splitlines()[0]
        pinged = app.shell("xwing", f"ping -c 1 -W 1 {app.get('pod', deathstar)['status']['podIP']}")
        assert pinged.returncode != 0, "what was not asked about stays closed"
    finally:
        app.kubectl("delete", "-f", "-", stdin=printed.encode())
    eventually(lambda: not landed(app, "xwing"), "without the rule xwing is denied again")


def test_without_the_policy_the_alliance_lands_again(app: Bench):
    app.kubectl("delete", "-f", str(STARWARS / "sw_l3_l4_policy.yaml"))
    eventually(lambda: landed(app, "xwing"), "xwing lands again")


def test_no_kube_proxy_and_none_of_its_rules(bench: Bench):
    for node in ("k8s-s", "k8s-w1", "k8s-w2"):
        assert "KUBE-SVC" not in bench.cluster.exec(node, "iptables-save")
