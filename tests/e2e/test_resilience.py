"""Anything may be killed at any moment: what was programmed goes on, what changed meanwhile is caught up with."""

import pytest

from tests.e2e.steps import Bench, eventually, finished, leader, lost, pod, service

PODS = (
    pod("steady", "k8s-w1"),
    pod("forbidden", "k8s-w1"),
    pod("near", "k8s-w1"),
    pod("far", "k8s-w2"),
)
SERVICE = service("steady", {"app": "steady"})
DATAGRAMS = 7100  # a server of their own: one busy with streams would overrun its UDP buffer


@pytest.fixture(scope="module")
def addresses(bench: Bench):
    found = bench.start(*PODS)
    bench.serve("steady")
    bench.serve("steady", DATAGRAMS, cpu=1)
    bench.serve("forbidden", DATAGRAMS)
    bench.apply(SERVICE, bench.deny("forbidden"))
    eventually(lambda: not bench.connects("near", found["forbidden"]), "the policy is enforced")
    found["service"] = bench.get("service", "steady")["spec"]["clusterIP"]
    eventually(lambda: bench.connects("near", found["service"]), "the service is served")
    yield found
    bench.delete(SERVICE, bench.deny("forbidden"), *PODS)


def agent_of(bench: Bench, node: str) -> dict:
    pods = bench.get("pods", "-n", "kube-system", "-l", "k8s-app=seta", "--field-selector", f"spec.nodeName={node}")
    return pods["items"][0]


def restarts(bench: Bench, node: str) -> int:
    return agent_of(bench, node)["status"]["containerStatuses"][0]["restartCount"]


def kill_agent(bench: Bench, node: str) -> None:
    """SIGKILL, and waits until the kubelet has it running and ready again."""
    before = restarts(bench, node)
    bench.cluster.exec(node, "pkill", "-9", "-f", "seta-agent")
    eventually(lambda: restarts(bench, node) > before, "the kubelet starts the agent again", 60)
    name = agent_of(bench, node)["metadata"]["name"]
    bench.kubectl("wait", "-n", "kube-system", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")


def test_no_packets_fate_changes_while_the_agent_dies_and_returns(bench: Bench, addresses):
    seconds = "25"
    before = bench.overruns("steady")
    watches = [
        bench.background(name, "watch", addresses["steady"], str(DATAGRAMS), seconds) for name in ("near", "far")
    ]
    forbidden = bench.background("far", "watch", addresses["forbidden"], str(DATAGRAMS), seconds)
    load = [
        bench.load("far", "crr", addresses["steady"], "7000", seconds, "0"),
        bench.load("near", "crr", addresses["service"], "7000", seconds, "0"),
        bench.load("far", "stream", addresses["steady"], "7001", seconds, "0"),
    ]
    kill_agent(bench, "k8s-w1")
    sent, unanswered = map(sum, zip(*(lost(watch) for watch in watches), strict=True))
    assert sent > 20_000
    assert unanswered <= bench.overruns("steady") - before  # those arrived, and found a busy server's buffer full
    sent, unanswered = lost(forbidden)
    assert unanswered == sent > 10_000
    assert all(float(finished(process)) > 0 for process in load)


def test_a_policy_made_while_the_agent_was_dead_is_enforced_after(bench: Bench, addresses):
    before = restarts(bench, "k8s-w1")
    bench.cluster.exec("k8s-w1", "pkill", "-9", "-f", "seta-agent")
    bench.apply(bench.deny("steady"))
    eventually(lambda: restarts(bench, "k8s-w1") > before, "the kubelet starts the agent again", 90)
    eventually(lambda: not bench.connects("far", addresses["steady"]), "the policy is enforced", 60)
    bench.delete(bench.deny("steady"))
    eventually(lambda: bench.connects("far", addresses["steady"]), "the policy's end is noticed")


def test_the_operator_killed_changes_no_number(bench: Bench, addresses):
    def numbers() -> tuple:
        identities = sorted(one["metadata"]["name"] for one in bench.get("ciliumidentities")["items"])
        tables = {
            one["metadata"]["name"]: [f["id"] for port in one["spec"]["ports"] for f in port["frontends"]]
            for one in bench.get("servicetables")["items"]
        }
        cidrs = {one["metadata"]["name"]: one["spec"]["ipam"]["podCIDRs"] for one in bench.get("ciliumnodes")["items"]}
        return identities, tables, cidrs

    before = numbers()
    bench.cluster.exec(leader(bench), "pkill", "-9", "-f", "seta-operator")
    late = pod("late", "k8s-w2")
    bench.start(late)  # needs an identity, so it proves that the operator is back
    after = numbers()
    bench.delete(late)
    assert set(before[0]) <= set(after[0])
    assert before[1:] == after[1:]


def test_another_operator_goes_on_where_the_deciding_one_is_deleted(bench: Bench):
    def lease() -> dict:
        return bench.get("lease", "seta-operator", "-n", "kube-system")["spec"]

    before = lease()
    deciding = f"spec.nodeName={before['holderIdentity']}"
    bench.kubectl("delete", "pod", "-n", "kube-system", "-l", "name=seta-operator", "--field-selector", deciding)
    # Given back and taken anew: by the one that stood by or, on the same node, by the deleted one's successor.
    eventually(
        lambda: lease()["leaseTransitions"] > before["leaseTransitions"] and lease()["holderIdentity"],
        "another one decides",
        10,
    )
    late = pod("later", "k8s-w1")
    bench.start(late)  # needs an identity
    bench.delete(late)
