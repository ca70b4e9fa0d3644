"""ADD, DEL, CHECK, GC and STATUS: what each does, in order. Called by the server with a checked request.

Each is safe to repeat: the runtime does so after every error, and after its own restarts. Per container one at a time,
because a runtime that gives up on an ADD sends a DEL while the ADD may still be on its way.
"""

import asyncio
import contextlib
import ipaddress
import weakref
from collections.abc import AsyncIterator
from typing import Any, Protocol

import structlog

from seta_agent.cni import endpoints, netns, result
from seta_agent.cni.endpoints import EndpointStore, Reservation
from seta_agent.cni.errors import CniError, Code
from seta_agent.cni.identity import IdentityResolver
from seta_agent.cni.request import IFNAME, Request
from seta_agent.tables import Endpoint, Pod

log = structlog.get_logger()

IDENTITY_SECONDS = 20.0  # an operator that is just starting gives identities by then; else the runtime tries again
PROGRAM_SECONDS = 15.0
VALID_ATTACHMENTS = "cni.dev/valid-attachments"  # the specification's key in a GC's configuration


class Datapath(Protocol):
    """What the commands need of the kernel: the programmer and the devices, or a test's."""

    @property
    def synced(self) -> bool: ...

    async def create_veth(
        self, netns_fd: int, container_id: str, ipv4: ipaddress.IPv4Address, router: ipaddress.IPv4Address
    ) -> tuple[str, int, str, str]:
        """Returns ifname, ifindex, the pod's MAC and the host end's. Raises CniError 5."""

    async def delete_veth(self, ifname: str) -> None:
        """Nothing where it is gone already. Raises CniError 5."""

    async def endpoint_programmed(self, endpoint_id: int, timeout: float) -> None:  # noqa: ASYNC109
        """Raises CniError 11 after that many seconds, saying what is missing."""

    async def endpoint_removed(self, endpoint_id: int, timeout: float) -> None:  # noqa: ASYNC109
        """Raises CniError 11 after that many seconds."""


class Commands:
    """One method per CNI command; each returns the JSON of its answer (empty: none) or raises CniError."""

    def __init__(self, store: EndpointStore, resolver: IdentityResolver, datapath: Datapath) -> None:
        self._store = store
        self._resolver = resolver
        self._datapath = datapath
        # container id -> held by its command; gone when nobody holds it or waits for it
        self._busy: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def run(self, request: Request, netns_fd: int | None) -> dict[str, Any]:
        match request.command:
            case "ADD":
                return await self._add(request, netns_fd)
            case "DEL":
                await self._delete_container(request.container_id)
            case "CHECK":
                await self._check(request, netns_fd)
            case "GC":
                await self._collect(request)
            case "STATUS":
                self._status()
        return {}

    async def _add(self, request: Request, netns_fd: int | None) -> dict[str, Any]:
        if netns_fd is None:
            raise CniError(Code.BAD_ENVIRONMENT, "CNI_NETNS is no network namespace that can be opened")
        if netns.same_namespace(netns_fd):
            raise CniError(Code.BAD_ENVIRONMENT, "CNI_NETNS is the host's own network namespace")
        async with self._alone(request.container_id):
            endpoint = await self._known(request.container_id) or await self._attach(request, netns_fd)
            await self._programmed(endpoint)
        router = self._store.node().router_ips[0]
        log.info("endpoint_ready", endpoint=endpoint.id, pod=f"{endpoint.namespace}/{endpoint.pod}")
        return result.add_result(endpoint, router, request.netns, request.version)

    async def _known(self, container_id: str) -> Endpoint | None:
        """An earlier ADD's endpoint, if it is still whole; what is left of a broken one is cleared away."""
        endpoint = self._store.by_container(container_id)
        if endpoint is not None and not endpoints.interface_exists(endpoint):
            await self._remove(endpoint)
            return None
        return endpoint

    async def _attach(self, request: Request, netns_fd: int) -> Endpoint:
        assert request.pod is not None  # noqa: S101 - an ADD without a pod is refused by the parser
        self._store.node()
        pod, identity = await self._resolver.resolve(request.pod, IDENTITY_SECONDS)
        with self._store.reserve() as place:
            veth = await self._datapath.create_veth(netns_fd, request.container_id, place.ipv4, place.router)
            try:
                cookie = await netns.cookie(netns_fd)
                bare = new_endpoint(place, request, veth, pod, cookie)
                endpoint = self._store.identified(bare, identity, pod)
                self._store.put(endpoint)
            except BaseException:
                await self._datapath.delete_veth(veth[0])
                raise
        return endpoint

    async def _programmed(self, endpoint: Endpoint) -> None:
        """Until its policy is in the kernel; an endpoint that does not get there is taken away again."""
        try:
            await self._datapath.endpoint_programmed(endpoint.id, PROGRAM_SECONDS)
        except BaseException:
            await self._remove(endpoint)
            raise

    async def _delete_container(self, container_id: str) -> None:
        async with self._alone(container_id):
            endpoint = self._store.by_container(container_id)
            if endpoint is not None:
                await self._remove(endpoint)

    async def _remove(self, endpoint: Endpoint) -> None:
        with self._store.releasing(endpoint):
            await self._datapath.endpoint_removed(endpoint.id, PROGRAM_SECONDS)
            await self._datapath.delete_veth(endpoint.ifname)
        log.info("endpoint_removed", endpoint=endpoint.id, pod=f"{endpoint.namespace}/{endpoint.pod}")

    async def _check(self, request: Request, netns_fd: int | None) -> None:
        endpoint = self._store.by_container(request.container_id)
        if endpoint is None:
            raise CniError(Code.UNKNOWN_CONTAINER, f"container {request.container_id} has no endpoint on this node")
        if not endpoints.interface_exists(endpoint):
            raise CniError(Code.BROKEN_ATTACHMENT, f"interface {endpoint.ifname} of endpoint {endpoint.id} is missing")
        if netns_fd is None:
            raise CniError(Code.BROKEN_ATTACHMENT, "the container's network namespace is gone")
        if await netns.interface_address(netns_fd, IFNAME) != endpoint.ipv4:
            raise CniError(Code.BROKEN_ATTACHMENT, f"{IFNAME} in the container does not have {endpoint.ipv4}")
        await self._check_programmed(endpoint)

    async def _check_programmed(self, endpoint: Endpoint) -> None:
        try:
            await self._datapath.endpoint_programmed(endpoint.id, PROGRAM_SECONDS)
        except CniError as error:
            raise CniError(Code.BROKEN_ATTACHMENT, str(error)) from None

    async def _collect(self, request: Request) -> None:
        """Removes endpoints of containers that the runtime no longer knows."""
        attachments = request.config.get(VALID_ATTACHMENTS)
        if not isinstance(attachments, list):
            raise CniError(Code.BAD_CONFIG, f"GC needs the list {VALID_ATTACHMENTS} in the configuration")
        try:
            valid = [entry["containerID"] for entry in attachments]
        except (KeyError, TypeError):
            raise CniError(Code.BAD_CONFIG, f"an entry of {VALID_ATTACHMENTS} has no containerID") from None
        for endpoint in self._store.outside(valid):
            await self._delete_container(endpoint.container_id)

    def _status(self) -> None:
        if not self._datapath.synced:
            raise CniError(Code.NOT_AVAILABLE, "the datapath of this node is not programmed yet")
        try:
            room = self._store.room()
        except CniError as error:
            raise CniError(Code.NOT_AVAILABLE, str(error)) from None
        if room <= 0:
            raise CniError(Code.NOT_AVAILABLE, "every pod address of this node is in use")

    @contextlib.asynccontextmanager
    async def _alone(self, container_id: str) -> AsyncIterator[None]:
        lock = self._busy.setdefault(container_id, asyncio.Lock())
        async with lock:
            yield


def new_endpoint(
    place: Reservation, request: Request, veth: tuple[str, int, str, str], pod: Pod, cookie: int
) -> Endpoint:
    """Without an identity yet."""
    ifname, ifindex, mac, node_mac = veth
    return Endpoint(
        id=place.id,
        namespace=pod.namespace,
        pod=pod.name,
        pod_uid=pod.uid,
        container_id=request.container_id,
        ifname=ifname,
        ifindex=ifindex,
        mac=mac,
        node_mac=node_mac,
        ipv4=place.ipv4,
        netns=request.netns,
        netns_cookie=cookie,
    )
