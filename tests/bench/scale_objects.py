"""Pods and policies by the thousand, as the API server would show them: data for scale_run.py."""

from collections.abc import Iterator
from typing import Any

from seta_crds import names
from seta_crds.names import Kind

JSON = dict[str, Any]
TEAMS = 50  # namespaces


def namespaces() -> Iterator[JSON]:
    for n in range(TEAMS):
        yield {"metadata": {"name": f"team-{n}", "labels": {"kubernetes.io/metadata.name": f"team-{n}"}}}


def pod(number: int) -> JSON:
    """One pod of an identity of its own."""
    own = {"app": f"app-{number // TEAMS}", "tier": ("web", "db", "job")[number % 3], "release": f"r{number % 7}"}
    spec = {"serviceAccountName": "default", "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}
    return {"metadata": {"name": f"pod-{number}", "namespace": f"team-{number % TEAMS}", "labels": own}, "spec": spec}


def policy(number: int, generation: int = 1) -> tuple[Kind, JSON]:
    """Every second one matches every pod; the others are of several kinds in turn."""
    if number % 2:
        peers = [{"matchLabels": {"app": f"app-{number % 97}", "tier": "web"}}]
        spec: JSON = {"endpointSelector": {}, "ingress": [{"fromEndpoints": peers, "toPorts": _ports(number)}]}
        return names.CLUSTERWIDE_NETWORK_POLICY, _body(f"all-{number}", "", generation, spec)
    kind, spec = _KINDS[number // 2 % len(_KINDS)](number)
    return kind, _body(f"p-{number}", f"team-{number % TEAMS}", generation, spec)


def _labels(number: int) -> tuple[Kind, JSON]:
    peer = {"matchLabels": {"app": f"app-{number % 97}"}}
    other = {"matchLabels": {"k8s:io.kubernetes.pod.namespace": f"team-{(number + 1) % TEAMS}", "tier": "web"}}
    rules = [{"fromEndpoints": [peer, other], "toPorts": _ports(number)}]
    return names.NETWORK_POLICY, {"endpointSelector": {"matchLabels": {"app": f"app-{number % 89}"}}, "ingress": rules}


def _ranges(number: int) -> tuple[Kind, JSON]:
    block = {"cidr": f"10.{number % 256}.0.0/16", "except": [f"10.{number % 256}.{number % 200}.0/24"]}
    rules = [{"toCIDRSet": [block, {"cidr": "192.0.2.0/24"}]}, {"toEntities": ["kube-apiserver", "remote-node"]}]
    return names.NETWORK_POLICY, {"endpointSelector": {"matchLabels": {"tier": "db"}}, "egress": rules}


def _kubernetes(number: int) -> tuple[Kind, JSON]:
    peers = [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"release": f"r{number % 7}"}}}]
    rules = [{"from": peers, "ports": [{"port": 1000 + number}]}]
    return names.K8S_NETWORK_POLICY, {"podSelector": {"matchLabels": {"tier": "web"}}, "ingress": rules}


_KINDS = (_labels, _ranges, _kubernetes)


def _ports(number: int) -> list[JSON]:
    return [{"ports": [{"port": str(2000 + number), "protocol": "TCP"}, {"port": "http", "protocol": "TCP"}]}]


def _body(name: str, namespace: str, generation: int, spec: JSON) -> JSON:
    meta = {"name": name, "generation": generation, "uid": name, **({"namespace": namespace} if namespace else {})}
    return {"metadata": meta, "spec": spec}
