"""The cluster, read from manifests: what there is, before anybody looks at it from anywhere.

Built once per evaluation from plain dicts. Only fields that some policy can refer to are read.
"""

import dataclasses
import ipaddress
import typing

from tests.policy.reference import identity
from tests.policy.reference.flows import Manifest, Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(frozen=True)
class NamedPort:
    name: str
    protocol: str
    port: int


@dataclasses.dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    labels: dict[str, str]  # source:key -> value, the identity
    node: str
    host_network: bool
    address: Address | None
    named_ports: tuple[NamedPort, ...]


@dataclasses.dataclass(frozen=True)
class Node:
    name: str
    labels: dict[str, str]  # key -> value, as on the object
    addresses: tuple[Address, ...]
    pod_cidrs: tuple[Network, ...]


@dataclasses.dataclass(frozen=True)
class Service:
    namespace: str
    name: str
    labels: dict[str, str]
    selector: dict[str, str]  # {} = a service without a selector


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One address behind a service."""

    namespace: str
    service: str
    address: Address
    ports: tuple[tuple[str, int], ...]


@dataclasses.dataclass(frozen=True)
class CidrGroup:
    name: str
    labels: dict[str, str]
    cidrs: tuple[Network, ...]


@dataclasses.dataclass
class Cluster:
    pods: dict[str, Pod]  # namespace/name -> pod
    nodes: dict[str, Node]  # name -> node
    services: list[Service]
    endpoints: list[Endpoint]
    cidr_groups: list[CidrGroup]

    @classmethod
    def read(cls, objects: typing.Iterable[Manifest], settings: Settings) -> "Cluster":
        kinds: dict[str, list[Manifest]] = {}  # kind -> manifests
        for each in objects:
            kinds.setdefault(each["kind"], []).append(each)
        namespaces = {each["metadata"]["name"]: _namespace_labels(each) for each in kinds.get("Namespace", [])}
        pods = [_pod(each, namespaces, settings) for each in kinds.get("Pod", [])]
        given = {each["metadata"]["name"]: each.get("spec") or {} for each in kinds.get("CiliumNode", [])}
        nodes = [_node(each, given.get(each["metadata"]["name"], {})) for each in kinds.get("Node", [])]
        return cls(
            pods={f"{pod.namespace}/{pod.name}": pod for pod in pods},
            nodes={node.name: node for node in nodes},
            services=[_service(each) for each in kinds.get("Service", [])],
            endpoints=[one for each in kinds.get("EndpointSlice", []) for one in _endpoints(each)],
            cidr_groups=[_cidr_group(each) for each in kinds.get("CiliumCIDRGroup", [])],
        )

    def api_servers(self) -> list[Endpoint]:
        """The kube-apiserver is wherever the endpoints of Service default/kubernetes are, in the cluster or outside of
        it [Cilium, layer3: Entities based]."""
        return [each for each in self.endpoints if (each.namespace, each.service) == ("default", "kubernetes")]

    def node_of(self, address: Address) -> Node | None:
        return next((node for node in self.nodes.values() if address in node.addresses), None)

    def pod_of(self, address: Address) -> Pod | None:
        return next((pod for pod in self.pods.values() if pod.address == address and not pod.host_network), None)


def _namespace_labels(manifest: Manifest) -> dict[str, str]:
    """The API server gives every namespace a label with its name [Kubernetes, network policies: by its name]."""
    name = manifest["metadata"]["name"]
    return {**(manifest["metadata"].get("labels") or {}), "kubernetes.io/metadata.name": name}


def _pod(manifest: Manifest, namespaces: dict[str, dict[str, str]], settings: Settings) -> Pod:
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    namespace = metadata.get("namespace") or "default"
    address = (manifest.get("status") or {}).get("podIP")
    return Pod(
        namespace=namespace,
        name=metadata["name"],
        labels=identity.pod_labels(
            metadata.get("labels") or {},
            namespace,
            namespaces.get(namespace, {}),
            spec.get("serviceAccountName") or "default",
            settings.cluster_name,
        ),
        node=spec.get("nodeName") or "",
        host_network=bool(spec.get("hostNetwork")),
        address=ipaddress.ip_address(address) if address else None,
        named_ports=tuple(
            NamedPort(port["name"].lower(), port.get("protocol") or "TCP", port["containerPort"])
            for container in spec.get("containers") or []
            for port in container.get("ports") or []
            if port.get("name")
        ),
    )


def _node(manifest: Manifest, given: Manifest) -> Node:
    """given: the spec of the node's CiliumNode, which has the addresses that the cluster's network gave to the node."""
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    own = [each["address"] for each in status.get("addresses") or [] if each["type"] in ("InternalIP", "ExternalIP")]
    router = [each["ip"] for each in given.get("addresses") or []]
    cidrs = (given.get("ipam") or {}).get("podCIDRs") or spec.get("podCIDRs") or []
    return Node(
        name=manifest["metadata"]["name"],
        labels=manifest["metadata"].get("labels") or {},
        addresses=tuple(ipaddress.ip_address(address) for address in dict.fromkeys([*own, *router])),
        pod_cidrs=tuple(ipaddress.ip_network(cidr) for cidr in cidrs),
    )


def _service(manifest: Manifest) -> Service:
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    return Service(
        namespace=metadata.get("namespace") or "default",
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        selector=spec.get("selector") or {},
    )


def _endpoints(manifest: Manifest) -> list[Endpoint]:
    metadata = manifest["metadata"]
    ports = tuple((port.get("protocol") or "TCP", port["port"]) for port in manifest.get("ports") or [])
    return [
        Endpoint(
            namespace=metadata.get("namespace") or "default",
            service=(metadata.get("labels") or {}).get("kubernetes.io/service-name", ""),
            address=ipaddress.ip_address(address),
            ports=ports,
        )
        for each in manifest.get("endpoints") or []
        for address in each["addresses"]
    ]


def _cidr_group(manifest: Manifest) -> CidrGroup:
    return CidrGroup(
        name=manifest["metadata"]["name"],
        labels=manifest["metadata"].get("labels") or {},
        cidrs=tuple(ipaddress.ip_network(cidr, strict=False) for cidr in manifest["spec"]["externalCIDRs"]),
    )
