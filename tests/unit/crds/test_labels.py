"""A pod's labels in, its identity's labels out."""

import subprocess
import sys

import pytest

from seta_crds import labels

CLUSTER = {"k8s:io.cilium.k8s.policy.cluster": "default"}


def identity(pod: dict[str, str], namespace: dict[str, str] | None = None, *, account: str = "", patterns: str = ""):
    found = labels.identity_labels(pod, "ns", namespace or {}, account, "default", labels.LabelFilter(patterns.split()))
    assert list(found) == sorted(found)
    own = CLUSTER | {"k8s:io.kubernetes.pod.namespace": "ns"}
    assert own.items() <= found.items() or patterns
    return {key: value for key, value in found.items() if key not in own}


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        ("app", True),
        ("app.kubernetes.io/name", True),
        ("app.kubernetes.io/instance", True),
        ("example.org/team", True),
        ("kubernetes.io/arch", False),
        ("io.kubernetes.container.name", False),
        ("beta.kubernetes.io/os", False),
        ("node.beta.kubernetes.io/x", False),
        ("k8s.io/cluster", False),
        ("pod-template-hash", False),
        ("pod-template-generation", False),
        ("controller-revision-hash", False),
        ("controller-uid", False),
        ("annotation.x", False),
        ("etcd_node", False),
        ("topology.kubernetes.io/zone", False),
        ("statefulset.kubernetes.io/pod-name", False),
        ("statefulset.kubernetes.io/other", True),
        ("apps.kubernetes.io/pod-index", False),
        ("batch.kubernetes.io/job-completion-index", False),
        ("batch.kubernetes.io/controller-uid", False),
        ("batch.kubernetes.io/job-name", True),
    ],
)
def test_default_filter(*, key: str, counts: bool) -> None:
    assert identity({key: "v"}) == ({f"k8s:{key}": "v"} if counts else {})


def test_namespace_labels_and_account_are_part_of_it() -> None:
    assert identity({"app": "a"}, {"team": "x", "kubernetes.io/metadata.name": "ns"}, account="web") == {
        "k8s:app": "a",
        "k8s:io.cilium.k8s.namespace.labels.team": "x",
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "ns",
        "k8s:io.cilium.k8s.policy.serviceaccount": "web",
    }


@pytest.mark.parametrize(
    "forged",
    [
        "io.kubernetes.pod.namespace",
        "io.cilium.k8s.policy.cluster",
        "io.cilium.k8s.policy.serviceaccount",
        "io.cilium.k8s.namespace.labels.team",
    ],
)
def test_a_pod_cannot_claim_what_is_not_its_own(forged: str) -> None:
    assert identity({forged: "stolen"}) == {}


@pytest.mark.parametrize(
    ("patterns", "pod", "kept"),
    [
        ("!version", {"app": "a", "version": "1"}, {"app"}),
        ("k8s:!version", {"app": "a", "version": "1"}, {"app"}),
        ("container:!version", {"app": "a", "version": "1"}, {"app", "version"}),
        ("app", {"app": "a", "version": "1"}, {"app"}),
        ("k8s:app$ !app-", {"app": "a", "app-x": "1", "b": "1"}, {"app"}),
        (r"kubernetes\.io/arch", {"kubernetes.io/arch": "a", "kubernetes.io/os": "b"}, {"kubernetes.io/arch"}),
    ],
)
def test_the_users_filter(patterns: str, pod: dict[str, str], kept: set[str]) -> None:
    assert {key.removeprefix("k8s:") for key in identity(pod, patterns=patterns)} == kept


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r'label pattern "a\[" is no regular expression'):
        labels.LabelFilter(["a["])


def test_labels_as_people_read_them_and_back() -> None:
    mapping = {"k8s:b": "c=d", "k8s:a": "x", "reserved:host": ""}
    assert labels.as_list(mapping) == ["k8s:a=x", "k8s:b=c=d", "reserved:host"]
    assert labels.from_list(labels.as_list(mapping)) == mapping


@pytest.mark.parametrize("module", ["names", "labels", "selectors", "interfaces"])
def test_agents_do_not_pay_for_pydantic(module: str) -> None:
    script = f"import sys, seta_crds.{module}; sys.exit('pydantic' in sys.modules or 'yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_named_ports_are_in_whatever_the_filter_says() -> None:
    ports = [("web", 8080, "TCP"), ("dns", 53, "UDP"), ("dns", 53, "TCP"), ("web", 9090, "TCP")]
    found = labels.identity_labels({}, "ns", {}, "", "default", labels.LabelFilter(["!.*"]), ports)
    assert found["k8s:io.cilium.k8s.named-ports"] == "dns=53/TCP,dns=53/UDP,web=8080/TCP"
    assert labels.from_list(labels.as_list(found)) == found


def test_a_pod_cannot_forge_its_named_ports() -> None:
    assert identity({labels.NAMED_PORTS: "web=1/TCP"}) == {}


def test_ports_of_a_pod() -> None:
    web, dns = {"name": "web", "containerPort": 80}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}
    spec = {
        "containers": [{"ports": [web, {"containerPort": 81}]}, {}],
        "initContainers": [
            {"ports": [{"name": "once", "containerPort": 1}]},
            {"restartPolicy": "Always", "ports": [dns]},
        ],
    }
    assert labels.pod_ports(spec) == (("web", 80, "TCP"), ("dns", 53, "UDP"))
    assert labels.pod_ports({}) == ()
