"""Kubeconfig files: how a client finds the API server and proves who it is.

For the components of a cluster with paths as they see them, and for the person at the terminal with everything
in the file itself, so that it can be copied.
"""

import base64
from pathlib import Path
from typing import Any

import yaml

from seta_playground import pki


def for_component(user: str, server: str, directory: str) -> str:
    """A component's kubeconfig: its certificate is `directory`/`user`.crt."""
    credentials = {"client-certificate": f"{directory}/{user}.crt", "client-key": f"{directory}/{user}.key"}
    return _render(user, {"server": server, "certificate-authority": f"{directory}/ca.crt"}, credentials)


def write_admin(path: Path, name: str, server: str, certificates: Path) -> None:
    """The administrator's kubeconfig, certificates and key inside, readable by its owner only."""

    def inline(file: str) -> str:
        return base64.b64encode((certificates / file).read_bytes()).decode()

    credentials = {"client-certificate-data": inline("admin.crt"), "client-key-data": inline("admin.key")}
    cluster = {"server": server, "certificate-authority-data": inline("ca.crt")}
    pki.write_secret(path, _render(name, cluster, credentials).encode())


def _render(name: str, cluster: dict[str, str], user: dict[str, str]) -> str:
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(content, sort_keys=False)
