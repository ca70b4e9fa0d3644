"""The one writer of `tables.endpoints`: reserves addresses and ids, keeps the state files equal to the rows.

Used by the CNI commands (add, remove) and by the identity follower (a new identity for a live endpoint).
"""

import contextlib
import dataclasses
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import structlog

from seta_agent.cni import ipam, netns, statefiles
from seta_agent.cni.errors import CniError, Code
from seta_agent.cni.request import IFNAME
from seta_agent.tables import Endpoint, Identity, Node, Pod, Tables

log = structlog.get_logger()


@dataclasses.dataclass(frozen=True)
class Reservation:
    """An id and an address that nobody else gets while an ADD or a DEL is on its way."""

    id: int
    ipv4: ipaddress.IPv4Address
    router: ipaddress.IPv4Address


class EndpointStore:
    """Endpoints of this node. Everything else reads `tables.endpoints`."""

    def __init__(
        self, tables: Tables, directory: Path, node_name: str, *, audit: bool = False, packet_services: str = ""
    ) -> None:
        """`audit`: policy only reports, unless an endpoint's own option says otherwise.

        `packet_services`: why services are translated in the packets of every pod; "": each pod says.
        """
        self._audit = audit
        self._packet_services = packet_services
        self._tables = tables
        self._directory = directory
        self._node_name = node_name
        self._reserved: dict[int, ipaddress.IPv4Address] = {}  # endpoint id -> its address; in work, no row
        self._last_id = 0
        self._last_address: ipaddress.IPv4Address | None = None

    def restore(self, namespaces: Path | None = None) -> int:
        """Rows from the state files, those only whose interface is still the kernel's. Returns how many.

        `namespaces`: where network namespaces have names; asked where a file of an older agent does not say.
        """
        loaded = list(statefiles.load_endpoints(self._directory))
        for endpoint in _with_namespaces(loaded, namespaces):
            if interface_exists(endpoint):
                self._tables.endpoints.set(endpoint.id, endpoint)
                self._last_id = max(self._last_id, endpoint.id)
            else:
                log.info("endpoint_gone", endpoint=endpoint.id, pod=f"{endpoint.namespace}/{endpoint.pod}")
                statefiles.forget_endpoint(self._directory, endpoint.id)
        self._tables.endpoints.synced = True
        self._last_address = max((endpoint.ipv4 for endpoint in self._tables.endpoints), default=None)
        return len(self._tables.endpoints)

    def node(self) -> Node:
        """The row of this node. Raises CniError 11 while the operator has not given it addresses."""
        node = self._tables.nodes.get(self._node_name)
        if node is None or not v4_cidrs(node) or not _v4_router(node):
            raise CniError(Code.TRY_AGAIN, f"node {self._node_name} has no pod CIDR yet; is the operator running?")
        return node

    def room(self) -> int:
        """How many more pods this node has addresses for. Raises CniError 11 like `node`."""
        return ipam.usable(v4_cidrs(self.node())) - len(self._tables.endpoints) - len(self._reserved)

    @contextlib.contextmanager
    def reserve(self) -> Iterator[Reservation]:
        """An id and an address for one ADD. Raises CniError 11 where none is left."""
        node = self.node()
        router = _v4_router(node)
        assert router is not None  # noqa: S101 - node() refuses a node without one; for the type checker
        used = {endpoint.ipv4 for endpoint in self._tables.endpoints} | set(self._reserved.values())
        address = ipam.next_address(v4_cidrs(node), used, self._last_address)
        number = ipam.next_id({*self._tables.endpoints.keys(), *self._reserved}, self._last_id)
        if address is None or number is None:
            raise CniError(Code.TRY_AGAIN, f"every address of {', '.join(map(str, node.pod_cidrs))} is in use")
        self._last_id, self._last_address = number, address
        with self._holding(number, address):
            yield Reservation(number, address, router)

    @contextlib.contextmanager
    def releasing(self, endpoint: Endpoint) -> Iterator[None]:
        """Takes the row away; address, id and state file stay taken until the block has undone the kernel's part.

        Where the block fails the row comes back: an endpoint is forgotten only when nothing of it is left.
        """
        with self._holding(endpoint.id, endpoint.ipv4):
            self._tables.endpoints.delete(endpoint.id)
            try:
                yield
            except BaseException:
                self._tables.endpoints.set(endpoint.id, endpoint)
                raise
            statefiles.forget_endpoint(self._directory, endpoint.id)

    def put(self, endpoint: Endpoint) -> None:
        """Adds or changes an endpoint, on disk first: a crash in between must not leave an endpoint nobody knows."""
        statefiles.save_endpoint(self._directory, endpoint)
        self._tables.endpoints.set(endpoint.id, endpoint)

    def identify(self, endpoint_id: int, identity: Identity, pod: Pod) -> None:
        """Gives a live endpoint an identity; nothing where it went away meanwhile."""
        endpoint = self._tables.endpoints.get(endpoint_id)
        if endpoint is not None:
            self.put(self.identified(endpoint, identity, pod))

    def identified(self, endpoint: Endpoint, identity: Identity, pod: Pod) -> Endpoint:
        """The row with what its identity and its pod say."""
        return dataclasses.replace(
            endpoint,
            identity=identity.id,
            labels=tuple(sorted(identity.labels)),
            named_ports=pod.named_ports,
            audit=self.audits(endpoint, pod),
            packet_services=(packets := self._packet_services or pod.packet_services),
            has_packets=endpoint.has_packets or bool(packets),
        )

    def audits(self, endpoint: Endpoint, pod: Pod | None) -> bool:
        """Whether policy only reports: the endpoint's option, else the pod's annotation or the cluster's setting."""
        if endpoint.audit_option is not None:
            return endpoint.audit_option
        return self._audit or (pod is not None and pod.audit)

    def configure(self, endpoint_id: int, *, audit: bool) -> Endpoint | None:
        """Sets a live endpoint's own option, which a restart keeps; None where there is no such endpoint."""
        endpoint = self._tables.endpoints.get(endpoint_id)
        if endpoint is None:
            return None
        changed = dataclasses.replace(endpoint, audit_option=audit, audit=audit)
        self.put(changed)
        return changed

    def by_container(self, container_id: str) -> Endpoint | None:
        return next((found for found in self._tables.endpoints if found.container_id == container_id), None)

    def outside(self, container_ids: Iterable[str]) -> list[Endpoint]:
        """Endpoints of containers that are not among these."""
        known = set(container_ids)
        return [endpoint for endpoint in self._tables.endpoints if endpoint.container_id not in known]

    @contextlib.contextmanager
    def _holding(self, number: int, address: ipaddress.IPv4Address) -> Iterator[None]:
        self._reserved[number] = address
        try:
            yield
        finally:
            del self._reserved[number]


def _with_namespaces(loaded: list[Endpoint], namespaces: Path | None) -> list[Endpoint]:
    """Endpoints with path and cookie of their namespace, as far as these can be found by the pods' addresses."""
    if namespaces is None or all(endpoint.netns_cookie for endpoint in loaded):
        return loaded
    found = {address: (path, cookie) for address, path, cookie in netns.known(namespaces, IFNAME)}
    return [
        endpoint
        if endpoint.netns_cookie or endpoint.ipv4 not in found
        else dataclasses.replace(endpoint, netns=found[endpoint.ipv4][0], netns_cookie=found[endpoint.ipv4][1])
        for endpoint in loaded
    ]


def interface_exists(endpoint: Endpoint) -> bool:
    try:
        return socket.if_nametoindex(endpoint.ifname) == endpoint.ifindex
    except OSError:
        return False


def v4_cidrs(node: Node) -> list[ipaddress.IPv4Network]:
    return [cidr for cidr in node.pod_cidrs if isinstance(cidr, ipaddress.IPv4Network)]


def _v4_router(node: Node) -> ipaddress.IPv4Address | None:
    return next((address for address in node.router_ips if isinstance(address, ipaddress.IPv4Address)), None)
