"""What is wrong is answered where the user looks, in a sentence."""

import pathlib

import yaml

from tests.e2e.steps import Bench, cnp, eventually

CHART = str(pathlib.Path(__file__).parents[2] / "deploy/chart")


def test_an_unknown_field_is_refused_by_kubectl(bench: Bench):
    policy = cnp("bad", {"endpointSelector": {}, "ingres": [{}]})
    answer = bench.cluster.try_kubectl("apply", "-f", "-", stdin=yaml.safe_dump(policy).encode())
    assert answer.returncode != 0
    assert 'unknown field "spec.ingres"' in answer.stderr


def test_a_field_that_is_not_supported_yet_is_named_and_the_policy_fails_closed(bench: Bench):
    rule = {"toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": [{"method": "GET"}]}}]}
    policy = cnp("l7", {"endpointSelector": {"matchLabels": {"app": "nobody"}}, "ingress": [rule]})
    bench.apply(policy)

    def verdict() -> dict:
        conditions = bench.get("cnp", "l7").get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == "Valid"), {})

    found = eventually(verdict, "the policy has a verdict")
    bench.delete(policy)
    assert found["status"] == "False"
    assert "spec.ingress[0].toPorts[0].rules" in found["message"]


def test_a_helm_value_of_the_wrong_type_is_named(bench: Bench):
    answer = bench.cluster.try_run("helm", "template", CHART, "--set", "routingMode=bridge")
    assert answer.returncode != 0
    assert "routingMode" in answer.stderr


def test_a_cni_config_that_is_no_json_gets_the_code_for_it(bench: Bench):
    command = "CNI_COMMAND=ADD CNI_CONTAINERID=x CNI_NETNS=/proc/self/ns/net CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin"
    script = f"echo 'no json' | {command} /opt/cni/bin/seta-cni; echo; echo exit $?"
    answer = bench.cluster.exec("k8s-w1", "sh", "-c", script)
    assert '"code":6' in answer.replace(" ", "")
