"""`seta lb preview` as people run it, with a kubectl that is a script: what is told, printed, and refused."""

import json
import os
import subprocess
import sys

import pytest
import yaml

KUBECTL = """#!/bin/sh
case "$*" in
  "get ciliumloadbalancerippools.cilium.io -o json") cat "$0.pools" ;;
  "get services --all-namespaces -o json") cat "$0.services" ;;
  "get configmap -n kube-system --field-selector=metadata.name=seta-config -o json") cat "$0.config" ;;
  *) echo "not expected: $*" >&2; exit 1 ;;
esac
"""


def pool(name, *blocks, created="2026-01-01T00:00:00Z", **spec):
    meta = {"name": name, **({"creationTimestamp": created} if created else {})}
    body = {"blocks": [{"cidr": block} for block in blocks], **spec}
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumLoadBalancerIPPool", "metadata": meta, "spec": body}


def service(name, *ips, type_="LoadBalancer", **labels):
    meta = {
        "namespace": "shop",
        "name": name,
        "labels": labels,
        "creationTimestamp": f"2026-01-01T00:00:{name[1:]:0>2}Z",
    }
    spec = {"type": type_, "ports": [{"port": 80, "protocol": "TCP"}], "ipFamilies": ["IPv4"]}
    return {"metadata": meta, "spec": spec, "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in ips]}}}


class Outside:
    """A machine with a kubectl that knows these pools and services."""

    def __init__(self, directory) -> None:
        self._directory, self._kubectl = directory, directory / "bin/kubectl"
        self._kubectl.parent.mkdir()
        self._kubectl.write_text(KUBECTL)
        self._kubectl.chmod(0o755)
        self.says("pools", pool("blue", "10.0.0.0/30"))
        self.says("services", service("s1", "10.0.0.0"), service("s2", "10.0.0.1"), service("s3", type_="ClusterIP"))
        self.says("config", {"data": {"default-lb-service-ipam": "lbipam"}})

    def says(self, what, *items) -> None:
        self._kubectl.with_name(f"kubectl.{what}").write_text(json.dumps({"items": list(items)}))

    def forgets(self, what) -> None:
        self._kubectl.with_name(f"kubectl.{what}").unlink()

    def file(self, *bodies) -> str:
        path = self._directory / "pools.yaml"
        path.write_text(yaml.safe_dump_all(bodies))
        return str(path)

    def preview(self, *words, stdin="", path=None) -> subprocess.CompletedProcess[str]:
        found = f"{self._kubectl.parent}:{os.environ['PATH']}" if path is None else path
        environment = {**os.environ, "PATH": found, "SETA_RUN_DIR": str(self._directory)}
        command = [sys.executable, "-m", "seta_agent.cli.main", "lb", "preview", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, input=stdin)


@pytest.fixture
def outside(tmp_path):
    return Outside(tmp_path)


def test_who_keeps_and_who_moves_is_a_table_and_an_exit_code(outside):
    outside.says("services", service("s1", "10.0.0.0"), service("s2", "10.0.0.2"))
    shown = outside.preview("-f", outside.file(pool("blue", "10.0.0.2/31", created="")))
    assert shown.stdout.splitlines() == [
        "SERVICE   NOW        THEN       WHY",
        'shop/s1   10.0.0.0   10.0.0.3   moves: 10.0.0.0 is in no pool any more; 10.0.0.3 is from "blue"',
        'shop/s2   10.0.0.2   10.0.0.2   keeps: still in "blue"',
        "",
        "1 moves, 1 keeps",
    ]
    assert (shown.returncode, shown.stderr) == (1, "")


def test_an_edit_that_moves_nobody_is_code_0(outside):
    shown = outside.preview("-f", outside.file(pool("blue", "10.0.0.0/30", disabled=True)), "--no-headers")
    assert shown.stdout.splitlines() == [
        'shop/s1   10.0.0.0   10.0.0.0   keeps: still in "blue"',
        'shop/s2   10.0.0.1   10.0.0.1   keeps: still in "blue"',
    ]
    assert shown.returncode == 0


def test_a_pool_that_would_be_deleted(outside):
    shown = outside.preview("--delete", "blue")
    why = "is in no pool any more; There are no enabled CiliumLoadBalancerIPPools that match this service"
    assert shown.stdout.splitlines()[1:] == [
        f"shop/s1   10.0.0.0   -      loses: 10.0.0.0 {why}",
        f"shop/s2   10.0.0.1   -      loses: 10.0.0.1 {why}",
        "",
        "2 loses",
    ]
    assert shown.returncode == 1


def test_a_new_pool_is_the_newest_and_its_conflict_is_told(outside):
    outside.says("services", service("s1", "10.0.0.0"), service("s2"))
    selects = {"matchLabels": {"a": "b"}}
    shown = outside.preview("-f", outside.file(pool("aaa", "10.0.0.0/24", created="", serviceSelector=selects)))
    why = "Pool conflicts since range '10.0.0.0/24' overlaps range '10.0.0.0/30' from IP Pool 'blue'"
    assert f'"aaa" would give nothing: {why}' in shown.stdout.splitlines()


def test_the_data_as_json(outside):
    outside.says("pools")
    outside.says("services", service("s1"))
    shown = outside.preview("-f", "-", "-o", "json", stdin=yaml.safe_dump(pool("green", "10.1.0.0/24", created="")))
    assert json.loads(shown.stdout) == {
        "services": [
            {
                "namespace": "shop",
                "name": "s1",
                "change": "gains",
                "now": [],
                "then": ["10.1.0.0"],
                "why": '10.1.0.0 is from "green"',
            }
        ],
        "conflicts": {},
    }
    assert shown.returncode == 0


def test_pools_in_a_list_and_between_other_kinds_are_found(outside):
    listed = {"kind": "List", "items": [pool("blue", "10.9.0.0/24", created="")]}
    shown = outside.preview("-f", outside.file({"kind": "Service"}, listed), "-o", "json")
    assert [one["then"] for one in json.loads(shown.stdout)["services"]] == [["10.9.0.0"], ["10.9.0.1"]]


def test_services_without_a_class_are_none_of_ours_where_the_chart_says_so(outside):
    outside.says("config", {"data": {"default-lb-service-ipam": "none"}})
    shown = outside.preview("--delete", "blue")
    assert (shown.returncode, shown.stdout.splitlines()[-1]) == (0, "No Service is concerned.")


def test_a_setting_that_may_not_be_read_is_told(outside):
    outside.forgets("config")
    shown = outside.preview("--delete", "blue")
    assert shown.stderr.startswith("seta: defaultLBServiceIPAM is taken to be lbipam: ")
    assert shown.returncode == 1


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        ((), "say what would change: -f FILE, --delete NAME, or both"),
        (("--delete", "green"), "there is no pool green to delete; there are blue"),
        (("-f", "/nowhere"), "/nowhere cannot be read: "),
    ],
)
def test_what_cannot_be_said_is_code_2(outside, edit, sentence):
    shown = outside.preview(*edit)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith(f"seta: {sentence}")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"kind": "Service"}, "no CiliumLoadBalancerIPPool in "),
        (pool("", "10.0.0.0/24"), "a pool has no name"),
        (
            pool("blue", "10.0.0.0/24", serviceSelectors={}),
            'pool "blue": spec.serviceSelectors: Extra inputs are not permitted',
        ),
        (pool("blue", "10.0.0.0/33"), 'pool "blue": spec.blocks[0] "10.0.0.0/33" is no range of addresses'),
    ],
)
def test_what_is_no_pool_is_code_2(outside, body, sentence):
    shown = outside.preview("-f", outside.file(body))
    assert shown.returncode == 2
    assert sentence in shown.stderr


def test_a_file_that_is_no_yaml_is_one_sentence(outside):
    shown = outside.preview("-f", "-", stdin="a: [")
    assert (shown.returncode, shown.stderr.startswith("seta: - cannot be read: ")) == (2, True)


def test_without_kubectl_it_says_so(outside):
    shown = outside.preview("--delete", "blue", path="/none")
    assert (shown.returncode, shown.stderr) == (2, "seta: there is no kubectl, and the API server is asked by it\n")
