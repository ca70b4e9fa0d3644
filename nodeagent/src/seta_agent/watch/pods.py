"""Pods of this node and all namespaces → rows. Called by the reflectors; pure.

Everything but the few fields below is dropped with the object itself.
"""

import ipaddress
from collections.abc import Iterator
from sys import intern
from typing import Any

from seta_agent.tables import HostPort, IPAddress, Pod
from seta_crds import labels

AUDIT_ANNOTATION = "policy.seta.dev/audit-mode"
SOCKET_ANNOTATION = "seta.dev/socket-lb"  # "false": the pod's packets are translated; "true": its sockets all the same
SIDECARS = frozenset({"istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane"})  # names of containers
STATIC_POD_HASH = "kubernetes.io/config.hash"  # kubelet's own uid of a static pod; the API object has another one


def pod_key(item: dict[str, Any]) -> tuple[str, str]:
    metadata = item["metadata"]
    return metadata["namespace"], metadata["name"]


def pod(item: dict[str, Any]) -> Pod | None:
    """None for a pod on the host network: it has the node's identity and no endpoint."""
    metadata, spec = item["metadata"], item["spec"]
    notes = metadata.get("annotations") or {}
    if spec.get("hostNetwork"):
        return None
    return Pod(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        labels=dict(metadata.get("labels") or {}),
        service_account=intern(spec.get("serviceAccountName") or "default"),
        named_ports=labels.pod_ports(spec),
        runtime_uid=notes.get(STATIC_POD_HASH, ""),
        audit=notes.get(AUDIT_ANNOTATION) == "true",
        host_ports=tuple(_host_ports(spec)),
        packet_services=packet_services(notes, spec),
    )


def packet_services(notes: dict[str, str], spec: dict[str, Any]) -> str:
    """Why the pod's sockets are left alone: its annotation, or the name of a sidecar that wants to see Services."""
    if SOCKET_ANNOTATION in notes:
        return "annotation" if notes[SOCKET_ANNOTATION] == "false" else ""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return next((intern(one["name"]) for one in containers if one.get("name") in SIDECARS), "")


def _host_ports(spec: dict[str, Any]) -> Iterator[HostPort]:
    """Of what runs for the pod's life: containers, and sidecars among the init containers."""
    sidecars = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield HostPort(
                    address=_named_address(port.get("hostIP") or ""),
                    port=int(port["hostPort"]),
                    container_port=int(port["containerPort"]),
                    protocol=intern(port.get("protocol") or "TCP"),
                )


def _named_address(text: str) -> IPAddress | None:
    """None where it stands for every address."""
    found = ipaddress.ip_address(text) if text else None
    return None if found is None or found.is_unspecified else found


def namespace_key(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])


def namespace(item: dict[str, Any]) -> dict[str, str]:
    return dict(item["metadata"].get("labels") or {})
