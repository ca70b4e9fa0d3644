"""kubelet's configuration and command line. Called by node.py; paths are as the node sees them."""

from pathlib import Path
from typing import Any

import yaml

from seta_playground import containerd, plan
from seta_playground.node_spec import Service

CONFIG = "/etc/kubernetes/kubelet.yaml"
KUBECONFIG = "/etc/kubernetes/kubelet.conf"
PKI = "/etc/kubernetes/pki"


def config(node: plan.Node) -> str:
    content: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{PKI}/kubelet-{node.name}.crt",
        "tlsPrivateKeyFile": f"{PKI}/kubelet-{node.name}.key",
        "clusterDNS": [plan.DNS_ADDRESS],
        "clusterDomain": plan.CLUSTER_DOMAIN,
        "containerRuntimeEndpoint": f"unix://{containerd.SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,  # machines with version 1 work, whatever the default says
        "failSwapOn": False,
        # All nodes share the machine's disk and memory: none of them may evict pods for what another uses.
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "resolvConf": "/etc/resolv.conf",
        "rotateCertificates": False,
        "serializeImagePulls": True,
    }
    return yaml.safe_dump(content, sort_keys=False)


def service(program: Path, node: plan.Node) -> Service:
    argv = [
        str(program),
        f"--config={CONFIG}",
        f"--kubeconfig={KUBECONFIG}",
        f"--node-ip={node.address}",
        f"--hostname-override={node.name}",
    ]
    return Service("kubelet", argv, after=f"{plan.CONTROL_PLANE_ADDRESS}:{plan.API_PORT}")
