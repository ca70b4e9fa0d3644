"""LoadBalancer Services and address pools on a real API server: what users see, what is refused, what stays."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from seta_crds import names
from seta_crds.lbipam import verdicts
from tests.api.client import Client
from tests.api.controlplane import ROOT, ControlPlane, Operator, eventually

JSON = dict[str, Any]
KIND = names.LOAD_BALANCER_IP_POOL


def pool(name: str, *cidrs: str, **spec: Any) -> JSON:
    return {"kind": KIND.kind, "metadata": {"name": name}, "spec": {"blocks": [{"cidr": one} for one in cidrs], **spec}}


def service(name: str, type_: str = "LoadBalancer", **meta: Any) -> JSON:
    spec = {"type": type_, "ports": [{"port": 80}]}
    return {"kind": "Service", "metadata": {"name": name, "namespace": "default", **meta}, "spec": spec}


def addresses(api: Client) -> dict[str, list[str]]:
    """LoadBalancer Service -> addresses in its status."""
    return {
        one["metadata"]["name"]: [item["ip"] for item in one["status"]["loadBalancer"].get("ingress", ())]
        for one in api.list(names.SERVICE)
        if one["spec"]["type"] == "LoadBalancer"
    }


def condition(api: Client, name: str) -> JSON | None:
    conditions = api.get(names.SERVICE, name, "default")["status"].get("conditions", ())
    return next((one for one in conditions if one["type"] == verdicts.SATISFIED), None)


def told(api: Client, name: str, words: str) -> bool:
    return words in json.dumps(condition(api, name))


def pool_told(api: Client, name: str) -> dict[str, JSON]:
    return {one["type"]: one for one in api.get(KIND, name).get("status", {}).get("conditions", ())}


def patch_status(api: Client, name: str, status: JSON) -> None:
    path = f"{names.SERVICE.path('default', name)}/status"
    api.request("PATCH", path, {"status": status}, "application/merge-patch+json")


def test_kubectl_shows_addresses_and_what_is_left(plane: ControlPlane, operator: Operator, api: Client) -> None:
    api.apply(pool("blue", "10.10.200.0/29", allowFirstLastIPs="No"))
    api.apply(pool("red", "10.10.200.4/30", disabled=True))
    api.apply(service("web"))
    eventually(lambda: addresses(api) == {"web": ["10.10.200.1"]}, 10, "an address")
    eventually(lambda: len(pool_told(api, "red")) == 5, 10, "red is judged")
    eventually(lambda: pool_told(api, "blue")["cilium.io/IPsUsed"]["message"] == "1", 10, "blue is counted")
    lines = [line.split() for line in plane.kubectl("get", "ippools").stdout.splitlines()]
    assert " ".join(lines[0]) == "NAME DISABLED CONFLICTING IPS AVAILABLE AGE"
    assert [line[:4] for line in lines[1:]] == [["blue", "false", "False", "5"], ["red", "true", "True", "4"]]
    shown = plane.kubectl("get", "svc", "web", "--no-headers").stdout.split()
    assert shown[1] == "LoadBalancer"
    assert shown[3] == "10.10.200.1"
    waited = plane.kubectl("wait", f"--for=condition={verdicts.SATISFIED}", "svc/web", "--timeout=5s")
    assert "condition met" in waited.stdout


def test_the_older_version_is_served(plane: ControlPlane, api: Client) -> None:
    manifest = {**pool("old", "10.0.0.0/30"), "apiVersion": "cilium.io/v2alpha1"}
    plane.kubectl("apply", "-f", "-", text=json.dumps(manifest))
    for name in ("ippool", "lbippool", "lbippools", "ciliumloadbalancerippools.v2alpha1.cilium.io"):
        assert "old" in plane.kubectl("get", name).stdout


REFUSED = {  # a block, or a spec -> part of the answer
    "{}": "a block is either a cidr, or a start with or without a stop",
    "{cidr: 10.0.0.0/24, start: 10.0.0.1}": "a block is either a cidr, or a start with or without a stop",
    "{stop: 10.0.0.1}": "stop needs a start",
    "{cidr: 10.0.0.0/24, stop: 10.0.0.1}": "stop needs a start",
    "{cidr: 10.0.0.0/33}": "cidr must be a range of addresses, such as 10.10.200.0/29 or 2001:db8::/120",
    "{cidr: 10.0.0.0}": "cidr must be a range of addresses",
    "{cidr: 10.0.0.256/24}": "cidr must be a range of addresses",
    "{cidr: 'fd00::/129'}": "cidr must be a range of addresses",
    "{start: 10.0.0.256}": "start must be one address, such as 10.10.200.1 or 2001:db8::1",
    "{start: 'fd00:::1'}": "start must be one address",
    "{start: 10.0.0.1, stop: '1:2:3:4:5:6:7:8:9'}": "stop must be one address",
    "{start: 10.0.0.1, stop: ten}": "stop must be one address",
    "{start: 10.0.0.1, stop: 'fd00::1'}": "start and stop must be of one family",
    "{start: 10.0.0.9, stop: 10.0.0.1}": "stop must not lie before start",
    "{start: 10.0.1.0, stop: 10.0.0.255}": "stop must not lie before start",
    "{start: 10.0.0.1, end: 10.0.0.2}": 'unknown field "spec.blocks[0].end"',
}


@pytest.mark.parametrize(("block", "sentence"), REFUSED.items())
def test_what_is_no_block_is_refused(plane: ControlPlane, block: str, sentence: str) -> None:
    head = "apiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool\nmetadata: {name: bad}\n"
    answer = plane.kubectl("apply", "-f", "-", text=f"{head}spec: {{blocks: [{block}]}}", check=False)
    assert answer.returncode != 0
    assert sentence in answer.stderr


@pytest.mark.parametrize(
    "block",
    [
        {"cidr": "10.10.200.5/29"},
        {"cidr": "0.0.0.0/0"},
        {"cidr": "fd00::/64"},
        {"cidr": "1:2:3:4:5:6:7:8/128"},
        {"cidr": "::/0"},
        {"start": "10.0.0.9", "stop": "10.0.0.10"},
        {"start": "9.255.255.255", "stop": "10.0.0.0"},
        {"start": "fd00::a", "stop": "fd00::1:b"},
        {"start": "::1"},
        {"start": "1::"},
        {"start": "255.255.255.255"},
    ],
)
def test_blocks_are_taken(api: Client, block: JSON) -> None:
    api.apply({**pool("good"), "spec": {"blocks": [block]}}, dry_run=True)


def test_the_other_words_of_a_pool_are_checked(plane: ControlPlane) -> None:
    head = "apiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool\nmetadata: {name: bad}\n"
    for spec, sentence in {
        '{allowFirstLastIPs: "Maybe"}': 'supported values: "Yes", "No"',
        "{serviceSelectors: {}}": 'unknown field "spec.serviceSelectors"',
        "{serviceSelector: {matchExpressions: [{key: a, operator: In}]}}": "operator In or NotIn wants values",
        "{disabled: 1}": "must be of type boolean",
    }.items():
        answer = plane.kubectl("apply", "-f", "-", text=f"{head}spec: {spec}", check=False)
        assert answer.returncode != 0
        assert sentence in answer.stderr


def test_conditions_say_what_is_wrong(operator: Operator, api: Client) -> None:
    api.apply(pool("blue", "10.0.0.0/31"))
    eventually(lambda: "Valid" in pool_told(api, "blue"), 10, "blue is judged")
    assert pool_told(api, "blue")["Valid"]["message"] == "No Service of type LoadBalancer is ours to serve."
    for name in ("a", "b", "c"):
        api.apply(service(name))
        eventually(lambda name=name: condition(api, name) is not None, 10, f"{name} is judged")
    assert addresses(api) == {"a": ["10.0.0.0"], "b": ["10.0.0.1"], "c": []}
    held = condition(api, "c")
    assert held is not None
    assert (held["status"], held["reason"]) == ("False", "out_of_ips")
    assert '"blue" has given all its 2 IPv4 addresses' in held["message"]
    time.sleep(1)  # creation times have seconds: overlap is to be the newer one's fault, not the one that sorts later
    api.apply(pool("also", "10.0.0.0/24"))
    eventually(lambda: "cilium.io/PoolConflict" in pool_told(api, "also"), 10, "also is judged")
    conflict = pool_told(api, "also")["cilium.io/PoolConflict"]
    assert (conflict["status"], conflict["reason"]) == ("True", "cidr_overlap")
    assert "range '10.0.0.0/24' overlaps range '10.0.0.0/31' from IP Pool 'blue'" in conflict["message"]
    eventually(lambda: told(api, "c", '"also\\" is in conflict'), 10, "c says so")
    api.apply({**pool("six"), "spec": {"blocks": [{"start": "fd00::9", "stop": "fd00::1"}], "serviceSelector": {}}})
    eventually(lambda: pool_told(api, "six").get("Valid", {}).get("status") == "False", 10, "six is judged")
    assert "stop fd00::1 lies before start fd00::9" in pool_told(api, "six")["Valid"]["message"]
    assert addresses(api) == {"a": ["10.0.0.0"], "b": ["10.0.0.1"], "c": []}, "nothing else has changed"


def test_a_service_that_is_no_load_balancer_for_a_while(operator: Operator, api: Client) -> None:
    api.apply(pool("blue", "10.0.0.0/32"))
    api.apply(service("web"))
    eventually(lambda: addresses(api) == {"web": ["10.0.0.0"]}, 10, "an address")
    api.apply(service("web", "ClusterIP"))
    eventually(lambda: condition(api, "web") is None, 10, "the condition is gone")
    assert api.get(names.SERVICE, "web", "default")["status"] == {"loadBalancer": {}}
    api.apply(service("next"))
    eventually(lambda: addresses(api) == {"next": ["10.0.0.0"]}, 10, "the address was returned")
    api.apply(service("web"))
    eventually(lambda: told(api, "web", "out_of_ips"), 10, "it waits")
    api.delete(service("next"))
    eventually(lambda: addresses(api) == {"web": ["10.0.0.0"]}, 10, "it has it again")


def test_a_restart_moves_nothing_and_writes_nothing(lone_operator: Operator, api: Client) -> None:
    api.apply(pool("blue", "10.0.0.0/28"))
    for n in range(10):
        asks = {"annotations": {"lbipam.cilium.io/ips": f"10.0.0.{n}"}} if n % 3 == 0 else {}
        api.apply(service(f"s{n}", **asks))
    lone_operator.start()
    eventually(lambda: all(addresses(api).values()), 15, "addresses")
    eventually(lambda: pool_told(api, "blue").get("cilium.io/IPsUsed", {}).get("message") == "10", 10, "counted")
    before = addresses(api), _versions(api)
    lone_operator.kill()
    api.delete(service("s5"))
    lone_operator.start()
    api.apply(service("late"))
    eventually(lambda: addresses(api)["late"] == before[0]["s5"], 10, "the first free address")
    now = addresses(api), _versions(api)
    assert {name: now[0][name] for name in now[0] if name != "late"} == {
        name: ips for name, ips in before[0].items() if name != "s5"
    }
    assert {name: version for name, version in now[1].items() if name != "late"} == {
        name: version for name, version in before[1].items() if name != "s5"
    }


def _versions(api: Client) -> dict[str, str]:
    return {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in api.list(names.SERVICE)}


def test_another_writer_of_the_status_is_not_fought(operator: Operator, api: Client) -> None:
    foreign = {"type": "cloud.example/Ready", "status": "True", "reason": "Fine", "message": ""}
    foreign["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    api.apply(service("web"))
    patch_status(api, "web", {"conditions": [foreign]})
    api.apply(pool("blue", "10.0.0.0/29"))
    eventually(lambda: addresses(api)["web"] == ["10.0.0.0"], 10, "an address")
    for _ in range(2):
        patch_status(api, "web", {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})
        eventually(lambda: addresses(api)["web"] == ["10.0.0.0"], 10, "written again")
    began = time.monotonic()
    patch_status(api, "web", {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})
    eventually(lambda: addresses(api)["web"] == ["10.0.0.0"], 10, "written again, later")
    assert time.monotonic() - began > 1.5
    assert foreign in api.get(names.SERVICE, "web", "default")["status"]["conditions"]


def preview(plane: ControlPlane, *words: str, stdin: JSON) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{plane.programs}:{os.environ['PATH']}", "SETA_RUN_DIR": "/none"}
    environment["KUBECONFIG"] = str(plane.directory / "admin.kubeconfig")
    command = [sys.executable, "-m", "seta_agent.cli.main", "lb", "preview", *words]
    return subprocess.run(
        command, env=environment, input=json.dumps(stdin), capture_output=True, text=True, check=False
    )


def test_what_the_preview_says_happens(plane: ControlPlane, operator: Operator, api: Client) -> None:
    api.apply(pool("blue", "10.0.0.0/29"))
    for n in range(6):
        api.apply(service(f"s{n}", labels={"half": str(n % 2)}))
    eventually(lambda: all(addresses(api).values()), 10, "addresses")
    before = addresses(api)
    half = {"matchLabels": {"half": "0"}}
    edit = {"kind": "List", "items": [pool("blue", "10.0.0.4/30"), pool("green", "10.1.0.0/31", serviceSelector=half)]}
    for one in edit["items"]:
        one["apiVersion"] = KIND.api_version
    answer = preview(plane, "-f", "-", "-o", "json", stdin=edit)
    assert answer.returncode == 1, answer.stderr
    foretold = {one["name"]: one for one in json.loads(answer.stdout)["services"]}
    assert {name: one["now"] for name, one in foretold.items()} == before
    for one in edit["items"]:
        api.apply(one)
    eventually(lambda: addresses(api) == {name: one["then"] for name, one in foretold.items()}, 10, "as foretold")
    answer = preview(plane, "-f", "-", stdin=edit)
    assert answer.returncode == 0, answer.stdout


EXAMPLES = sorted((ROOT / "examples/loadbalancer").glob("*.yaml"))


def test_examples_are_accepted(plane: ControlPlane) -> None:
    assert EXAMPLES
    for file in EXAMPLES:
        plane.kubectl("apply", "--dry-run=server", "-f", str(file))
