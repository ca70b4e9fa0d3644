"""The edges of the process: settings, credentials, health, the loop that applies, what is kept of raw objects."""

import asyncio
import pathlib
from typing import Any

import aiohttp
import pytest
import yaml

from seta_operator import health, settings
from seta_operator.main import main
from seta_operator.services.subject import Subject
from seta_operator.settings import SettingsError
from seta_operator.store import connection, facts


def config(directory: pathlib.Path, **keys: str) -> pathlib.Path:
    for key, value in keys.items():
        (directory / key.replace("_", "-")).write_text(value)
    return directory


def test_defaults_and_what_helm_writes(tmp_path: pathlib.Path) -> None:
    found = settings.read(tmp_path)
    assert (found.cluster_pool_ipv4_cidr, found.cluster_pool_ipv4_mask_size) == (("10.0.0.0/8",), 24)
    assert (found.identity_gc_interval, found.cluster_name, found.labels, found.debug) == (900, "default", (), False)
    keys = {"cluster_pool_ipv4_cidr": "10.1.0.0/16 10.2.0.0/16\n", "cluster_pool_ipv4_mask_size": "26"}
    more = {"identity_gc_interval": "1h30m", "labels": "app !version", "debug": "true", "routing_mode": "agents-own"}
    found = settings.read(config(tmp_path, **keys, **more))
    assert found.cluster_pool_ipv4_cidr == ("10.1.0.0/16", "10.2.0.0/16")
    assert (found.cluster_pool_ipv4_mask_size, found.identity_gc_interval) == (26, 5400)
    assert (found.labels, found.debug) == (("app", "!version"), True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900), ("90s", 90), ("250ms", 0.25), ("1h2m3s", 3723), ("1.5h", 5400)]
)
def test_durations(tmp_path: pathlib.Path, text: str, seconds: float) -> None:
    assert settings.read(config(tmp_path, identity_gc_interval=text)).identity_gc_interval == seconds


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"cluster_pool_ipv4_mask_size": "abc"},
            'cluster-pool-ipv4-mask-size is "abc": Input should be a valid integer',
        ),
        ({"cluster_pool_ipv4_mask_size": "31"}, "correct the Helm value ipam.operator.clusterPoolIPv4MaskSize"),
        ({"cluster_pool_ipv4_cidr": "10.0.0.0/33"}, "10.0.0.0/33 is no IPv4 range"),
        ({"cluster_pool_ipv4_cidr": "10.0.0.1/8"}, "10.0.0.1/8 has host bits set"),
        ({"cluster_pool_ipv4_cidr": "10.0.0.0/8 10.1.0.0/16"}, "10.1.0.0/16 overlaps 10.0.0.0/8"),
        ({"cluster_pool_ipv4_cidr": "10.0.0.0/28"}, "which is more than the range 10.0.0.0/28 holds"),
        ({"identity_gc_interval": "soon"}, 'identity-gc-interval is "soon": is no duration: write for example 15m'),
        ({"identity_gc_interval": "0s"}, "identity-gc-interval"),
        ({"ipam": "kubernetes"}, 'ipam is "kubernetes"'),
        ({"labels": "a["}, 'label pattern "a[" is no regular expression'),
        (
            {"l2_announcements_lease_duration": "5s", "l2_announcements_renew_deadline": "5s"},
            "make l2announcements.leaseDuration longer than l2announcements.leaseRenewDeadline",
        ),
        (
            {"l2_announcements_renew_deadline": "2400ms"},
            "l2-announcements-renew-deadline is 2.4s and l2-announcements-retry-period 2s: one late renewal would end",
        ),
        ({"debug": "perhaps"}, "correct the Helm value debug.enabled"),
    ],
)
def test_a_bad_value_is_one_sentence(tmp_path: pathlib.Path, keys: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.read(config(tmp_path, **keys))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_directory(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SettingsError, match="mount the ConfigMap seta-config there"):
        settings.read(tmp_path / "none")


def test_the_program_ends_with_the_sentence(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["seta-operator", "--config-dir", str(config(tmp_path, debug="perhaps"))])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith('seta-operator: debug is "perhaps"')


@pytest.mark.parametrize(
    ("host", "server"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_credentials_of_the_service_account(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, host: str, server: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "ca.crt").write_text("a certificate")
    found = connection.login(tmp_path)
    assert (found.server, found.token, found.ca_path) == (server, "secret", str(tmp_path / "ca.crt"))
    assert found.expiration is not None, "the file is read again"


def test_credentials_of_a_kubeconfig(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "interactiveMode": "Never"}
    credential = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t0"}}'
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"exec": {**plugin, "args": ["-c", f"echo '{credential}'"]}}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    found = connection.login(tmp_path)
    assert (found.server, found.token, found.insecure) == ("https://127.0.0.1:1", "t0", True)


def test_nothing_to_talk_to(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(connection.NoClusterError, match="set KUBECONFIG to run outside a pod"):
        connection.login(tmp_path)


async def test_health_is_a_code_and_a_sentence(unused_tcp_port: int) -> None:
    problem = "not listed yet"
    runner = await health.serve(lambda: problem, unused_tcp_port)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session:
            async with session.get("/healthz") as answer:
                assert (answer.status, await answer.text()) == (503, "not listed yet\n")
            problem = ""
            async with session.get("/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
    finally:
        await runner.cleanup()


class Counting(Subject[str]):
    """Fails each key as often as told."""

    name = "counting"

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.applied: list[set[str]] = []
        self.done = asyncio.Event()
        self._failures = failures

    def start(self) -> None:
        self.mark("a")
        self.mark("b")

    async def apply(self, keys: set[str]) -> set[str]:
        self.applied.append(set(keys))
        if len(self.applied) <= self._failures:
            return {"a"}
        self.done.set()
        return set()


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_what_failed_is_tried_again_and_nothing_else(failures: int) -> None:
    subject = Counting(failures)
    task = asyncio.ensure_future(subject.run())
    await asyncio.wait_for(subject.done.wait(), 5)
    task.cancel()
    assert subject.applied == [{"a", "b"}, *[{"a"}] * failures]
    assert not subject.busy


@pytest.mark.parametrize(
    ("spec", "phase", "on_network"),
    [
        ({}, "Pending", True),
        ({}, "Running", True),
        ({"hostNetwork": False}, "Running", True),
        ({"hostNetwork": True}, "Running", False),
        ({}, "Succeeded", False),
        ({}, "Failed", False),
    ],
)
def test_pods_on_the_network(*, spec: dict[str, Any], phase: str, on_network: bool) -> None:
    body = {"metadata": {"name": "a"}, "spec": spec, "status": {"phase": phase}}
    assert facts.pod(body).on_network is on_network


def test_an_event_that_changes_no_decision_changes_no_fact() -> None:
    before = {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "w1"}, "status": {"phase": "Pending"}}
    after = {"metadata": {"labels": {"a": "b"}, "annotations": {"x": "y"}}, "spec": {}, "status": {"phase": "Running"}}
    assert facts.pod(before) == facts.pod(after)


def test_a_service_of_which_only_others_fields_change_is_the_same() -> None:
    before = {"metadata": {"generation": 1}, "spec": {"clusterIPs": ["10.96.0.1"]}}
    hints = {"service.kubernetes.io/topology-mode": "Auto"}  # for whom makes EndpointSlices
    fields = {"trafficDistribution": "PreferClose", "ipFamilyPolicy": "SingleStack"}
    after = {"metadata": {"generation": 2, "annotations": hints}, "spec": {**before["spec"], **fields}}
    assert facts.service(before) == facts.service(after)
