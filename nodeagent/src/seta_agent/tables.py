"""What the agent knows: one typed table per subject, each with one writer.

The watch fills the tables that mirror the API server, the CNI fills `endpoints`. `seta_agent.desired` turns them
into map contents and routes by pure functions; nothing else in the agent keeps cluster state. Rows are immutable:
a change is a new row, so that a desired state computed from a table can be compared and shared without copying.
"""

import dataclasses
import enum
import ipaddress
from collections.abc import Callable, Iterator, KeysView, Mapping
from typing import Generic, TypeVar

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Key = TypeVar("Key")
Row = TypeVar("Row")


class ReservedIdentity(enum.IntEnum):
    """Numeric identities with a fixed meaning (the field's numbers)."""

    UNKNOWN = 0
    HOST = 1
    WORLD = 2
    UNMANAGED = 3
    HEALTH = 4
    INIT = 5
    REMOTE_NODE = 6
    KUBE_APISERVER = 7
    INGRESS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node at which a pod answers."""

    address: IPAddress | None  # None: every address of the node
    port: int
    container_port: int
    protocol: str  # TCP, UDP, SCTP


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """A pod bound to this node, as far as the agent cares."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    service_account: str
    named_ports: tuple[tuple[str, int, str], ...] = ()  # (name, port, protocol)
    runtime_uid: str = ""  # what the runtime calls a static pod; "": the same as uid
    audit: bool = False  # its annotation asks for policy audit mode
    host_ports: tuple[HostPort, ...] = ()
    packet_services: str = ""  # why its packets are translated one by one, not its sockets; "": its sockets are


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """One pod's attachment to this node: written by the CNI, restored from the state files at start."""

    id: int  # 1..65535, local to the node
    namespace: str
    pod: str
    pod_uid: str
    container_id: str
    ifname: str  # host end of the veth
    ifindex: int
    mac: str  # the pod's eth0
    node_mac: str  # the host end
    ipv4: ipaddress.IPv4Address
    ipv6: ipaddress.IPv6Address | None = None
    identity: int | None = None  # None: waiting for identity; not programmed, so no connectivity
    labels: tuple[str, ...] = ()  # of the identity, "source:key=value"
    named_ports: tuple[tuple[str, int, str], ...] = ()
    audit_option: bool | None = None  # as `seta endpoint config` set it; None: the pod or the cluster says
    audit: bool = False  # whether policy only reports here, whoever said so
    netns: str = ""  # path of its network namespace, as the runtime named it; "": not known
    netns_cookie: int = 0  # of that namespace, as BPF sees it; 0: not known
    packet_services: str = ""  # why services are translated in its packets; "": at its sockets
    has_packets: bool = False  # its packets are looked up, or once were: connections of that time live from it


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    id: int
    labels: frozenset[str]  # "source:key=value"
    selector_sets: tuple[str, ...] = ()  # those that matched when it was allocated
    prefix: IPNetwork | None = None  # the addresses that have it, where it is an address range's


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """A CiliumNode: its addresses and the pod CIDRs the operator gave it."""

    name: str
    internal_ips: tuple[IPAddress, ...]
    router_ips: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...]
    identity: int = 0  # of its own, while a policy tells nodes apart; 0: none
    kube_apiserver: bool = False  # its own address is the API server's
    uid: str = ""  # of the CiliumNode; "": as remembered from before the start
    zone: str = ""  # topology.kubernetes.io/zone


@dataclasses.dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address that a device of this node has."""

    address: IPAddress
    ifindex: int
    secondary: bool = False  # the kernel takes another one of the same network as a source


@dataclasses.dataclass(frozen=True, slots=True)
class RemotePod:
    """A pod anywhere in the cluster, from the endpoint slices."""

    namespace: str
    name: str
    identity: int
    addresses: tuple[IPAddress, ...]
    node_ip: IPAddress
    named_ports: tuple[tuple[str, int, str], ...] = ()  # (name, port, protocol)


@dataclasses.dataclass(frozen=True, slots=True)
class Frontend:
    id: int  # rev-nat index, the same on every node; 0: the node gives one
    type: str  # ClusterIP, NodePort, ...
    address: IPAddress  # unspecified for a NodePort: every address of this node that serves node ports
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class Backend:
    address: IPAddress
    port: int
    node: str = ""
    zone: str = ""
    state: str = "active"
    zones: tuple[str, ...] = ()  # whose nodes prefer it; (): all
    nodes: tuple[str, ...] = ()  # that prefer it; (): all


@dataclasses.dataclass(frozen=True, slots=True)
class ServicePort:
    name: str
    protocol: str  # TCP, UDP, SCTP
    frontends: tuple[Frontend, ...]
    backends: tuple[Backend, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Service:
    namespace: str
    name: str
    ports: tuple[ServicePort, ...]
    type: str = "ClusterIP"
    external_local: bool = False  # externalTrafficPolicy Local
    internal_local: bool = False  # internalTrafficPolicy Local
    affinity_seconds: int = 0  # 0: none
    source_ranges: tuple[IPNetwork, ...] = ()
    source_ranges_deny: bool = False  # the ranges are refused, not let in
    health_check_node_port: int = 0
    algorithm: str = ""  # random, maglev; "": as the settings say
    forwarding_mode: str = ""  # snat, dsr; "": as the settings say


@dataclasses.dataclass(frozen=True, slots=True)
class Announcement:
    """A service whose addresses a node answers for on its network."""

    namespace: str
    name: str
    addresses: tuple[IPAddress, ...]
    interfaces: tuple[str, ...] = ()  # regular expressions of device names, any may match; (): every native device


@dataclasses.dataclass(frozen=True, slots=True)
class NodeAnnouncements:
    """All that the operator gave one node to answer for."""

    uid: str  # of the object: one that was made anew counts its generations from the start
    generation: int
    services: tuple[Announcement, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class PortMatch:
    protocol: str  # TCP, UDP, SCTP, ICMP, ICMPV6, ANY
    port: int = 0  # 0: every port; of ICMP and ICMPV6 the message type, 0 too
    end_port: int = 0  # 0: the one port
    name: str = ""  # a named port: resolved on the destination pod


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyEntry:
    origin: str  # "spec.ingress[0]"
    deny: bool
    peers: tuple[str, ...] | None  # names of selector sets; None: any peer; (): nobody
    ports: tuple[PortMatch, ...] | None  # None: all ports
    yields: bool = False  # a deny that any allow beats, but not the absence of a default deny


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyDirection:
    default_deny: bool
    entries: tuple[PolicyEntry, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyRule:
    subject: str  # name of a selector set; "" where `nodes` says whom it is about
    ingress: PolicyDirection | None
    egress: PolicyDirection | None
    nodes: tuple[str, ...] | None = None  # names of the nodes whose own traffic it is about


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """A compiled policy as the operator wrote it."""

    name: str  # of the CompiledPolicy
    source: str  # "CiliumNetworkPolicy default/rule1"
    generation: int
    rules: tuple[PolicyRule, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SelectorSet:
    name: str
    selector: str  # for people
    identities: frozenset[int]


class Table(Generic[Key, Row]):
    """Rows by key; says which keys changed. One writer, any number of readers, one event loop.

    `synced` is False until the first complete listing: desired states that would remove something on the strength
    of what is absent (stale map entries, strangers' routes) wait for it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._synced = False
        self._rows: dict[Key, Row] = {}  # key -> row
        self._listeners: list[Callable[[Key], None]] = []
        self._synced_listeners: list[Callable[[], None]] = []

    @property
    def synced(self) -> bool:
        return self._synced

    @synced.setter
    def synced(self, value: bool) -> None:
        became = value and not self._synced
        self._synced = value
        if became:
            for listener in self._synced_listeners:
                listener()

    def subscribe(self, listener: Callable[[Key], None], on_synced: Callable[[], None] | None = None) -> None:
        """Be told of each changed key, and once of the first complete listing."""
        self._listeners.append(listener)
        if on_synced:
            self._synced_listeners.append(on_synced)

    def set(self, key: Key, row: Row) -> None:
        if self._rows.get(key) == row:
            return
        self._rows[key] = row
        self._notify(key)

    def delete(self, key: Key) -> None:
        if self._rows.pop(key, None) is not None:
            self._notify(key)

    def replace(self, rows: Mapping[Key, Row]) -> None:
        """A complete listing: what it does not name is gone."""
        for key in [key for key in self._rows if key not in rows]:
            self.delete(key)
        for key, row in rows.items():
            self.set(key, row)
        self.synced = True

    def get(self, key: Key) -> Row | None:
        return self._rows.get(key)

    def keys(self) -> KeysView[Key]:
        return self._rows.keys()

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def _notify(self, key: Key) -> None:
        for listener in self._listeners:
            listener(key)


class Tables:
    """Every table of the agent, and who writes it."""

    def __init__(self) -> None:
        self.endpoints: Table[int, Endpoint] = Table("endpoints")  # endpoint id -> row; the CNI
        self.pods: Table[tuple[str, str], Pod] = Table("pods")  # (namespace, name) -> row; watch (this node's)
        self.namespaces: Table[str, Mapping[str, str]] = Table("namespaces")  # name -> labels; watch
        self.identities: Table[int, Identity] = Table("identities")  # id -> row; watch
        self.admitted: Table[int, Identity] = Table("admitted")  # id -> row; admission (address ranges and nodes)
        self.nodes: Table[str, Node] = Table("nodes")  # name -> row; watch (every node, this one too)
        self.own_addresses: Table[IPAddress, OwnAddress] = Table("own_addresses")  # address -> row; programmer
        self.remote_pods: Table[str, tuple[RemotePod, ...]] = Table("remote_pods")  # slice name -> rows; watch
        self.services: Table[tuple[str, str], Service] = Table("services")  # (namespace, name) -> row; watch
        self.policies: Table[str, Policy] = Table("policies")  # compiled policy name -> row; watch
        self.selector_sets: Table[str, SelectorSet] = Table("selector_sets")  # name -> row; watch

    def ips_of_own(self, node: Node) -> tuple[IPAddress, ...]:
        """Every address of this node: as the cluster knows it, and what else its devices have."""
        return tuple(
            dict.fromkeys((*node.internal_ips, *node.router_ips, *(row.address for row in self.own_addresses)))
        )

    @property
    def policy_listed(self) -> bool:
        """Everything that policy is computed from is listed. Half of it would cut off what the whole allows."""
        return all(
            table.synced
            for table in (
                self.policies,
                self.selector_sets,
                self.identities,  # named ports of other pods
                self.nodes,  # whether this one is the API server's, and who the others are
                self.admitted,  # ranges and nodes with identities of their own
                self.services,  # ports of the API server, which a host policy never shuts out
            )
        )

    @property
    def listed(self) -> bool:
        """Everything that the kernel's contents are computed from is listed: what nobody wants may go."""
        return self.policy_listed and self.endpoints.synced and self.remote_pods.synced
