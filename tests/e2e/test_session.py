"""The session of the README, command by command."""

import pathlib
import re
import time

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


def test_the_drop_is_seen_where_it_happened(app: Bench):
    watching = app.cluster.popen_seta("monitor", "--type", "drop")
    try:
        time.sleep(2)  # the monitor starts at the end of the ring, so that it must be there first
        assert not landed(app, "xwing")
        time.sleep(1)
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


def test_without_the_policy_the_alliance_lands_again(app: Bench):
    app.kubectl("delete", "-f", str(STARWARS / "sw_l3_l4_policy.yaml"))
    eventually(lambda: landed(app, "xwing"), "xwing lands again")


def test_no_kube_proxy_and_none_of_its_rules(bench: Bench):
    for node in ("k8s-s", "k8s-w1", "k8s-w2"):
        assert "KUBE-SVC" not in bench.cluster.exec(node, "iptables-save")
