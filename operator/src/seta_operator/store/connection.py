"""How to reach the API server: from the pod's service account, or as the kubeconfig says.

Used twice: kopf logs in with it (handlers), and api.py makes its session of it. The kubernetes package reads both
kinds, so that every kubeconfig works that kubectl takes (exec plugins, OIDC). kopf's own service account login asks
DNS for kubernetes.default.svc, which does not exist before this operator has done its work; here the environment's
address counts.
"""

import datetime as dt
import os
from pathlib import Path

import kopf
from kubernetes import client
from kubernetes.config import ConfigException, load_kube_config
from kubernetes.config.incluster_config import InClusterConfigLoader

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFE = dt.timedelta(minutes=5)  # kubelet renews the file long before the token in it ends
OUTSIDE = "kube-system"  # the namespace, where the operator runs in none


class NoClusterError(Exception):
    """There is neither a service account nor a kubeconfig; the message says what to do."""


def login(account: Path = ACCOUNT) -> kopf.ConnectionInfo:
    """Credentials as of now; tokens expire soon, so that they are read again.

    Raises:
        NoClusterError: nothing tells where the API server is.

    """
    found = client.Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and (account / "token").exists():
            InClusterConfigLoader(str(account / "token"), str(account / "ca.crt")).load_and_set(found)
        else:
            load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=found, persist_config=False)
    except ConfigException as error:
        raise NoClusterError(
            f"no service account in {account} and no kubeconfig ({error}): set KUBECONFIG to run outside a pod"
        ) from None
    return _as_kopf_wants(found)


def namespace(account: Path = ACCOUNT) -> str:
    """The namespace that the operator and the agents run in."""
    file = account / "namespace"
    return file.read_text().strip() if file.exists() else OUTSIDE


def _as_kopf_wants(found: client.Configuration) -> kopf.ConnectionInfo:
    token = str(found.api_key.get("BearerToken") or "").split()  # with or without the scheme's name before it
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        token=token[-1] if token else None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        expiration=dt.datetime.now(dt.UTC) + TOKEN_LIFE if token else None,
    )
