"""Random clusters: manifests of what policies can refer to. Part of `generate`."""

import typing

from tests.policy import vocabulary as words
from tests.policy.picking import Pick
from tests.policy.reference.flows import Manifest


def cluster(pick: Pick) -> list[Manifest]:
    """Namespaces, nodes with their CiliumNodes, pods, services and slices, CIDR groups, perhaps an API server."""
    nodes = 1 + pick.one((1, 0, 2))
    objects = [_namespace(pick, name) for name in words.NAMESPACES]
    for index in range(nodes):
        objects += _node(pick, index)
    objects += [_named(pod, index) for index, pod in enumerate(pick.several(_pod, nodes, least=2, most=6))]
    for name in words.SERVICES:
        objects += [] if pick.chance(3) else _service(pick, name)
    for name in words.GROUPS:
        objects += [] if pick.chance(3) else [_group(pick, name)]
    return objects + pick.one(_API_SERVERS)


def _namespace(pick: Pick, name: str) -> Manifest:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": pick.mapping(words.NAMESPACE_LABELS)}}


def _node(pick: Pick, index: int) -> list[Manifest]:
    name = words.NODES[index]
    return [
        {
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **pick.mapping(words.NODE_LABELS)}},
            "status": {"addresses": [{"type": "InternalIP", "address": words.node_address(index)}]},
        },
        {
            "kind": "CiliumNode",
            "metadata": {"name": name},
            "spec": {
                "addresses": [{"type": "CiliumInternalIP", "ip": words.router_address(index)}],
                "ipam": {"podCIDRs": [words.pod_cidr(index)]},
            },
        },
    ]


def _pod(pick: Pick, nodes: int) -> Manifest:
    labels = pick.mapping(words.POD_LABELS, of=4)
    if pick.chance(8):
        labels[words.INVISIBLE[0]] = words.INVISIBLE[1]
    return {
        "kind": "Pod",
        "metadata": {"namespace": pick.one(words.OFTEN_THE_FIRST), "labels": labels},
        "spec": {
            "nodeName": words.NODES[pick.one(range(nodes))],
            "hostNetwork": pick.chance(10),
            "serviceAccountName": pick.one(words.SERVICE_ACCOUNTS),
            "containers": [{"name": "main", "ports": _container_ports(pick)}],
        },
    }


def _named(pod: Manifest, index: int) -> Manifest:
    """Name and address follow from the place in the list, so that they stay unique."""
    node = words.NODES.index(pod["spec"]["nodeName"])
    on_host = pod["spec"]["hostNetwork"]
    pod["metadata"]["name"] = f"p{index}"
    return {**pod, "status": {"podIP": words.node_address(node) if on_host else words.pod_address(node, index)}}


def _container_ports(pick: Pick) -> list[Manifest]:
    """Names are unique within a pod, and stand for other ports in other pods."""
    return [
        {"name": name, "containerPort": pick.one(words.EDGES), "protocol": pick.one(("TCP", "TCP", "UDP", "SCTP"))}
        for name in pick.some(words.PORT_NAMES, least=1)
    ]


def _service(pick: Pick, name: str) -> list[Manifest]:
    """With a selector, or without one and with an EndpointSlice of addresses outside."""
    namespace, selector = pick.one(words.OFTEN_THE_FIRST), {} if pick.chance(2) else pick.mapping(words.POD_LABELS)
    service = {
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": pick.mapping(words.SERVICE_LABELS)},
        "spec": {"selector": selector} if selector else {},
    }
    if selector:
        return [service]
    return [service, _slice(namespace, name, pick.some(words.WORLD[:6]), 443)]


def _slice(namespace: str, service: str, addresses: typing.Sequence[str], port: int) -> Manifest:
    labels = {"kubernetes.io/service-name": service}
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": _slice_name(service), "namespace": namespace, "labels": labels},
        "ports": [{"port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


def _slice_name(service: str) -> str:
    """The API server's own is called like its service."""
    return service if service == "kubernetes" else f"{service}-1"


def _group(pick: Pick, name: str) -> Manifest:
    return {
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": name, "labels": pick.mapping(words.GROUP_LABELS)},
        "spec": {"externalCIDRs": pick.some(words.CIDRS, least=1)},
    }


# On the first node, unknown, or outside.
_API_SERVERS: list[list[Manifest]] = [
    [_slice("default", "kubernetes", [words.node_address(0)], 6443)],
    [],
    [_slice("default", "kubernetes", [words.EXTERNAL_API_SERVER], 6443)],
]
