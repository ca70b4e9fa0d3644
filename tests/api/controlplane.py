"""etcd and a real kube-apiserver, alone, on loopback; and the operator as a real process beside them.

Everything that is started dies with this process, killed or not (setpriv --pdeathsig), and a directory left by a
killed run is removed by the next one. Used by conftest.py.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator

from seta_playground import binaries, paths
from tests.api.client import Client

ROOT = pathlib.Path(__file__).parents[2]
PREFIX = "op-api-"
ADMIN, OPERATOR = "admin-token", "operator-token"
ADVERTISED = "203.0.113.250"  # where it says it is: an address outside the cluster, the same on every machine
OPERATOR_USER = "system:serviceaccount:kube-system:seta-operator"
TOKENS = f"""{ADMIN},admin,1,"system:masters"
{OPERATOR},{OPERATOR_USER},2,"system:serviceaccounts,system:authenticated"
"""


def programs() -> pathlib.Path | None:
    """Directory of kube-apiserver, kubectl and helm: the user's, or what the playground has built."""
    named = binaries.user_directory(None)
    built = sorted(paths.cache_dir().glob("bin/*/kube-apiserver"), key=lambda path: path.stat().st_mtime)
    found = named or (built[-1].parent if built else None)
    return found if found is not None and os.access(found / "kube-apiserver", os.X_OK) else None


def eventually(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until it is done; AssertionError naming it where it never is."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"still not after {seconds} s: {what}"
        time.sleep(0.02)


def start(log: pathlib.Path, *command: object, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A process that dies with this one; its output is appended to the log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> None:
    """End it and wait for it."""
    process.send_signal(how)
    process.wait(timeout=15)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def control_plane() -> Iterator["ControlPlane"]:
    """From nothing to a ready API server with the project's CRDs and the operator's RBAC."""
    remove_leftovers()
    directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    plane = ControlPlane(directory)
    try:
        plane.up()
        yield plane
    finally:
        plane.down()
        shutil.rmtree(directory, ignore_errors=True)


def remove_leftovers() -> None:
    """Directories of runs that were killed: their processes are gone already."""
    for directory in pathlib.Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = directory.name.removeprefix(PREFIX).partition("-")[0]
        if not pathlib.Path("/proc", pid).exists():
            shutil.rmtree(directory, ignore_errors=True)


class ControlPlane:
    def __init__(self, directory: pathlib.Path) -> None:
        found = programs()
        assert found is not None
        self.programs, self.directory = found, directory
        self.port = free_port()
        self.authority = directory / "certs/apiserver.crt"
        self.audit_log = directory / "audit.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def up(self) -> None:
        etcd = self._etcd()
        (self.directory / "tokens").write_text(TOKENS)
        key = self.directory / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        self.processes.append(
            start(
                self.directory / "apiserver.log",
                self.programs / "kube-apiserver",
                f"--etcd-servers={etcd}",
                f"--secure-port={self.port}",
                "--bind-address=127.0.0.1",
                f"--advertise-address={ADVERTISED}",
                f"--cert-dir={self.authority.parent}",
                f"--token-auth-file={self.directory / 'tokens'}",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16",
                f"--audit-policy-file={self._audit_policy()}",
                f"--audit-log-path={self.audit_log}",
                "--disable-admission-plugins=ServiceAccount",  # nobody makes service accounts here
            )
        )
        eventually(self._ready, 30, f"kube-apiserver ready (see {self.directory}/apiserver.log)")
        for name, token in (("admin", ADMIN), ("operator", OPERATOR)):
            (self.directory / f"{name}.kubeconfig").write_text(json.dumps(self._kubeconfig(token)))
        self.kubectl("apply", "-f", str(ROOT / "deploy/chart/crds"))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        chart = [self.programs / "helm", "template", "seta", ROOT / "deploy/chart", "-n", "kube-system"]
        chart += ["--set", "l2announcements.enabled=true"]
        shown = subprocess.run(
            [*chart, "-s", "templates/operator/rbac.yaml"], check=True, capture_output=True, text=True
        )
        self.kubectl("apply", "-f", "-", text=shown.stdout)

    def down(self) -> None:
        for process in reversed(self.processes):
            end(process)

    def client(self) -> Client:
        return Client(f"https://127.0.0.1:{self.port}", ADMIN, self.authority)

    def kubectl(self, *arguments: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [self.programs / "kubectl", "--kubeconfig", self.directory / "admin.kubeconfig", *arguments]
        return subprocess.run(command, input=text, text=True, capture_output=True, check=check)

    def _etcd(self) -> str:
        url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        addresses = (f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--listen-peer-urls={peer}")
        data = f"--data-dir={self.directory / 'etcd'}"
        self.processes.append(start(self.directory / "etcd.log", "etcd", data, *addresses, "--unsafe-no-fsync"))
        return url

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            context = ssl.create_default_context(cafile=str(self.authority))
            request = urllib.request.Request(
                f"https://127.0.0.1:{self.port}/readyz", headers={"Authorization": f"Bearer {ADMIN}"}
            )
            with urllib.request.urlopen(request, context=context, timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        return False

    def _audit_policy(self) -> pathlib.Path:
        """Write down what the operator asks for, and nobody else."""
        rules = [{"level": "Metadata", "users": [OPERATOR_USER]}, {"level": "None"}]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
        (self.directory / "audit.json").write_text(json.dumps(policy))
        return self.directory / "audit.json"

    def _kubeconfig(self, token: str) -> dict[str, object]:
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.authority)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": cluster}],
            "users": [{"name": "it", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }


class Operator:
    """The operator's own process, with the rights of the chart's ClusterRole and a configuration directory."""

    def __init__(self, plane: ControlPlane, name: str, **config: str) -> None:
        self.log = plane.directory / f"operator-{name}.log"
        self._kubeconfig = plane.directory / "operator.kubeconfig"
        self._config = plane.directory / f"config-{name}"
        self._config.mkdir(exist_ok=True)  # the cases start one again, after tests that had one of their own
        for key, value in config.items():
            (self._config / key.replace("_", "-")).write_text(value)
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()

    def start(self, within: float = 30) -> None:
        """Start it and wait until it has listed the cluster."""
        program = pathlib.Path(sys.executable).with_name("seta-operator")
        command = (program, "--config-dir", self._config, "--health-port", self._port)
        self._process = start(self.log, *command, env={"KUBECONFIG": str(self._kubeconfig)})
        try:
            eventually(lambda: self.health()[0] == 200 or self._process.poll() is not None, within, "operator healthy")
            assert self._process.poll() is None, "the operator has ended"
        except AssertionError as error:
            raise AssertionError(
                f"{error}; {self.health()}; its log ends with:\n{self.log.read_text()[-4000:]}"
            ) from None

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            end(self._process, how)
            self._process = None

    @property
    def pid(self) -> int:
        """Of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def health(self) -> tuple[int, str]:
        """Status and text of /healthz; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/healthz", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""
