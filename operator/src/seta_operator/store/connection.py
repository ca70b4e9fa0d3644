"""How to reach the API server: from the pod's service account, or from KUBECONFIG.

Used twice: kopf logs in with it (handlers), and api.py makes its session of it. kopf's own service account login
asks DNS for kubernetes.default.svc, which does not exist before this operator has done its work; the environment
has the address.
"""

import datetime as dt
import os
from pathlib import Path

import kopf

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFE = dt.timedelta(minutes=5)  # kubelet renews the file long before the token in it ends


class NoClusterError(Exception):
    """There is neither a service account nor a KUBECONFIG; the message says what to do."""


def login(account: Path = ACCOUNT) -> kopf.ConnectionInfo:
    """Credentials as of now; those of a service account expire soon, so that they are read again.

    Raises:
        NoClusterError: nothing tells where the API server is.

    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if host and (account / "token").exists():
        return kopf.ConnectionInfo(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            ca_path=str(account / "ca.crt"),
            token=(account / "token").read_text().strip(),
            expiration=dt.datetime.now(dt.UTC) + TOKEN_LIFE,
        )
    found = kopf.login_with_kubeconfig(settings=kopf.OperatorSettings())
    if found is None:
        raise NoClusterError(f"no service account in {account} and no KUBECONFIG: set KUBECONFIG to run outside a pod")
    return found
