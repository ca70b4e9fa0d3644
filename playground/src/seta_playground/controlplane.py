"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, as services of the control plane's node.

Called by node.py. Paths are as that node sees them: its certificates lie in /etc/kubernetes.
"""

import json
from pathlib import Path

from seta_playground import binaries, plan
from seta_playground.node_spec import Service

PKI = "/etc/kubernetes/pki"
ETCD = "127.0.0.1:2379"
ETCD_PEER = "127.0.0.1:2380"
AUDIT_POLICY, AUDIT_LOG = "/etc/audit-policy.json", "/var/log/audit.log"
SETA = [f"system:serviceaccount:kube-system:{account}" for account in ("seta", "seta-operator")]


def services(programs: binaries.Binaries) -> list[Service]:
    ready = f"https://{plan.CONTROL_PLANE_ADDRESS}:{plan.API_PORT}/readyz"  # before, its roles are not there
    return [
        Service("etcd", _etcd(str(programs.chosen.get("etcd", "etcd")))),
        Service("kube-apiserver", _apiserver(programs.path("kube-apiserver")), after=ETCD),
        Service("kube-controller-manager", _controllers(programs.path("kube-controller-manager")), after=ready),
        Service("kube-scheduler", _scheduler(programs.path("kube-scheduler")), after=ready),
    ]


def files() -> dict[str, str]:
    """By path. What Seta asks of the API server is written down, for its rights; nobody else's requests are."""
    rules = [{"level": "Metadata", "users": SETA, "omitStages": ["RequestReceived"]}, {"level": "None"}]
    return {AUDIT_POLICY: json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules})}


def _etcd(program: str) -> list[str]:
    """No fsync: a cluster that goes with its machine needs no data that survives it."""
    return [
        program,
        "--data-dir=/var/lib/etcd/data",
        f"--listen-client-urls=https://{ETCD}",
        f"--advertise-client-urls=https://{ETCD}",
        f"--listen-peer-urls=https://{ETCD_PEER}",
        f"--initial-advertise-peer-urls=https://{ETCD_PEER}",
        f"--initial-cluster=default=https://{ETCD_PEER}",
        f"--peer-cert-file={PKI}/etcd.crt",
        f"--peer-key-file={PKI}/etcd.key",
        f"--peer-trusted-ca-file={PKI}/ca.crt",
        "--peer-client-cert-auth",
        f"--cert-file={PKI}/etcd.crt",
        f"--key-file={PKI}/etcd.key",
        f"--trusted-ca-file={PKI}/ca.crt",
        "--client-cert-auth",
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--logger=zap",
    ]


def _apiserver(program: Path) -> list[str]:
    return [
        str(program),
        f"--advertise-address={plan.CONTROL_PLANE_ADDRESS}",
        f"--secure-port={plan.API_PORT}",
        f"--service-cluster-ip-range={plan.SERVICE_CIDR}",
        f"--etcd-servers=https://{ETCD}",
        f"--etcd-cafile={PKI}/ca.crt",
        f"--etcd-certfile={PKI}/etcd.crt",
        f"--etcd-keyfile={PKI}/etcd.key",
        f"--tls-cert-file={PKI}/apiserver.crt",
        f"--tls-private-key-file={PKI}/apiserver.key",
        f"--client-ca-file={PKI}/ca.crt",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",  # nodes are in no DNS
        f"--service-account-issuer=https://kubernetes.default.svc.{plan.CLUSTER_DOMAIN}",
        f"--service-account-key-file={PKI}/sa.pub",
        f"--service-account-signing-key-file={PKI}/sa.key",
        f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={PKI}/front-proxy-client.crt",
        f"--proxy-client-key-file={PKI}/front-proxy-client.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--audit-policy-file={AUDIT_POLICY}",
        f"--audit-log-path={AUDIT_LOG}",
        "--audit-log-maxsize=100",  # MB, in the node's memory
        "--audit-log-maxbackup=1",
        "--profiling=false",
    ]


def _controllers(program: Path) -> list[str]:
    """Pod networks are the network's own business: nodeipam stays off."""
    return [
        str(program),
        "--controllers=*,-node-ipam-controller",
        *_client("kube-controller-manager"),
        "--use-service-account-credentials",
        f"--root-ca-file={PKI}/ca.crt",
        f"--service-account-private-key-file={PKI}/sa.key",
        f"--cluster-signing-cert-file={PKI}/ca.crt",
        f"--cluster-signing-key-file={PKI}/ca.key",
        f"--service-cluster-ip-range={plan.SERVICE_CIDR}",
        "--bind-address=127.0.0.1",
        "--kube-api-qps=200",  # by default its controllers take five seconds to start, waiting for their turns
        "--kube-api-burst=400",
    ]


def _scheduler(program: Path) -> list[str]:
    return [str(program), *_client("kube-scheduler"), "--bind-address=127.0.0.1"]


def _client(component: str) -> list[str]:
    config = f"/etc/kubernetes/{component}.conf"
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",
        "--profiling=false",
    ]
