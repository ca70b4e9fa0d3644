"""How to reach the API server: from inside a pod, or by a kubeconfig file (tests, and people's own machines).

Called once by `main`, before the first request. Nothing here talks to the network; tokens are read again for each
request that needs one, because a kubelet replaces them while the agent runs.
"""

import base64
import contextlib
import dataclasses
import os
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE = "kube-system"
TOKEN_MAX_AGE = 30.0  # seconds; projected tokens are replaced minutes before they end


class AccessError(Exception):
    """There is no usable way to the API server; the message says what to set."""


@dataclasses.dataclass
class Access:
    """Where the API server is and how to prove who we are."""

    server: str  # "https://10.0.0.1:6443"
    tls: ssl.SSLContext | None
    token_file: Path | None = None
    fixed_token: str = ""
    _token: str = ""
    _token_read: float = -TOKEN_MAX_AGE

    def headers(self) -> dict[str, str]:
        token = self._current_token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _current_token(self) -> str:
        if self.token_file is None:
            return self.fixed_token
        now = time.monotonic()
        if now - self._token_read >= TOKEN_MAX_AGE:
            self._token = self.token_file.read_text().strip()
            self._token_read = now
        return self._token


def in_cluster(directory: Path = SERVICE_ACCOUNT) -> Access:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = directory / "token"
    if not host or not token.exists():
        raise AccessError(
            "no way to the API server: KUBERNETES_SERVICE_HOST or the service account token is missing; set KUBECONFIG"
        )
    if ":" in host:
        host = f"[{host}]"
    return Access(f"https://{host}:{port}", ssl.create_default_context(cafile=directory / "ca.crt"), token_file=token)


def from_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig; client certificates and tokens (no exec plugins)."""
    import yaml  # noqa: PLC0415 - only here: the agent in a pod must not pay for it

    config = yaml.safe_load(path.read_text())
    try:
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
    except (KeyError, TypeError) as error:
        raise AccessError(f"{path} has no usable current context: {error} is missing") from error
    tls = _tls(cluster, user) if cluster["server"].startswith("https:") else None
    return Access(cluster["server"].rstrip("/"), tls, fixed_token=user.get("token", ""))


def discover() -> Access:
    """KUBECONFIG where it is set, else the pod's service account."""
    kubeconfig = os.environ.get("KUBECONFIG")
    return from_kubeconfig(Path(kubeconfig)) if kubeconfig else in_cluster()


def own_namespace(directory: Path = SERVICE_ACCOUNT) -> str:
    """Where the agents run: leases are in there, and the DaemonSet."""
    with contextlib.suppress(OSError):
        return (directory / "namespace").read_text().strip() or DEFAULT_NAMESPACE
    return DEFAULT_NAMESPACE


def _named(config: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in config[section]:
        if entry["name"] == name:
            return dict(entry)
    raise KeyError(f"{section}/{name}")


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _pem(cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _pem(user, "client-certificate"), _pem(user, "client-key")
    if certificate and key:
        # load_cert_chain takes files only; this one is private and gone when the context has read it
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _pem(entry: dict[str, Any], name: str) -> bytes:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data)
    if path := entry.get(name):
        return Path(path).read_bytes()
    return b""
