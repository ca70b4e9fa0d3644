"""The agent put together: what starts in which order, and what is left running when it ends.

Called by `main`. Local state comes first: endpoints and this node's addresses from disk, then the kernel, and only then
the API server, so that the datapath is right also where that cannot be reached. When the agent ends nothing is
detached: pinned links and maps go on.
"""

import asyncio
import contextlib
import signal
from typing import Any

import structlog

from seta_agent import cep, health, policystatus, process
from seta_agent.api.backend import Backend
from seta_agent.api.server import ApiServer
from seta_agent.cni import install, statefiles, uninstall
from seta_agent.cni.admission import Admission
from seta_agent.cni.commands import Commands
from seta_agent.cni.datapath import KernelDatapath
from seta_agent.cni.endpoints import EndpointStore
from seta_agent.cni.identity import IdentityFollower, IdentityResolver
from seta_agent.cni.server import CniServer
from seta_agent.kube import KubeClient
from seta_agent.l2.service import L2Announcements
from seta_agent.paths import Paths
from seta_agent.probes.node import NodeProbes
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.programmer.node import NodeProgrammer
from seta_agent.readiness import Readiness
from seta_agent.settings import Settings
from seta_agent.signals import Signal
from seta_agent.tables import Node, Tables
from seta_agent.watch import sources
from seta_crds.labels import LabelFilter

log = structlog.get_logger()
UNINSTALL_SECONDS = 3.0  # for the question to the API server while the kubelet waits for our end
NEVER = float("inf")


class Agent:
    """Everything of one node. `run` returns after SIGTERM or SIGINT, and raises what a task of it raised."""

    def __init__(self, settings: Settings, label_filter: LabelFilter, paths: Paths, client: KubeClient) -> None:
        self._settings = settings
        self._paths = paths
        self._client = client
        self._tables = Tables()
        self._reflectors = sources.reflectors(client, self._tables, settings.node_name)
        self._programmer = NodeProgrammer(settings, self._tables)
        self._l2 = L2Announcements(settings, self._tables, client, self._programmer)
        self._readiness = Readiness(self._tables, self._programmer, settings.node_name)
        self._store = EndpointStore(
            self._tables,
            paths.state / "endpoints",
            settings.node_name,
            audit=settings.policy_audit_mode,
            packet_services="hostNamespaceOnly" if settings.bpf_lb_sock_hostns_only else "",
        )
        self._health = health.server(self._readiness.sentence)
        self._probes = NodeProbes(settings, self._tables, lambda: self._programmer.failing_since)
        self._resolver = IdentityResolver(self._tables, client, settings.cluster_name, label_filter)
        self._own_pod = uninstall.OwnPod(client, settings.pod_name)
        self._installer = install.Installer(paths, exclusive=settings.cni_exclusive)
        backend = Backend(
            settings,
            self._tables,
            self._programmer,
            self._readiness,
            self._reflectors,
            store=self._store,
            probes=self._probes,
            l2=self._l2,
        )
        self._watching = False  # whether the reflectors run; they start before the programmer on a new node only
        self._api = ApiServer(paths.api_socket, backend)

    async def run(self) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await self._api.open()
        own_pod = asyncio.create_task(self._own_pod.run())  # to the end: what it says is asked for then
        try:
            await self._until(stop)
        finally:
            self._health.close()
            await self._api.close()
        uninstalled = await self._is_uninstalled()
        own_pod.cancel()
        if uninstalled:
            self._installer.uninstall()
        await self._l2.end(uninstalled=uninstalled)
        log.info("agent_stopped")

    async def _is_uninstalled(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNINSTALL_SECONDS):
                return await uninstall.is_uninstalled(self._client, self._own_pod)
        return False

    async def _until(self, stop: asyncio.Event) -> None:
        """All tasks, until `stop`. One that fails ends the agent: the kubelet starts it again, the datapath goes on."""
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            if fault := await self._health.open():
                raise OSError(f"the port for probes, {health.ADDRESS}:{health.PORT}: {fault}")
            await self._start_datapath(tasks)
            self._start_followers(tasks)
            await self._readiness.wait()
            log.info("agent_ready", seconds=round(self._readiness.seconds, 3), rss_bytes=process.rss_bytes())
            tasks.create_task(self._installer.run())

    async def _start_datapath(self, tasks: asyncio.TaskGroup) -> None:
        """From what is on disk where that is enough; a new node has to ask the API server for its addresses first."""
        restored = self._store.restore(self._settings.netns_dir)
        node_file = self._paths.state / "node.json"
        known = statefiles.load_node(node_file)
        if known is not None and known.name == self._settings.node_name:
            self._tables.nodes.set(known.name, known)
        else:
            self._start_watches(tasks)
            known = await Signal(self._tables.nodes).until(self._own_node, NEVER)
        log.info("starting", endpoints=restored, pod_cidrs=[str(cidr) for cidr in known.pod_cidrs])
        await self._start_programmer(tasks, known)
        if not self._watching:
            self._start_watches(tasks)
        self._tables.nodes.subscribe(lambda name: self._remember(name, node_file))
        self._remember(known.name, node_file)
        tasks.create_task(self._programmer.run())

    async def _start_programmer(self, tasks: asyncio.TaskGroup, known: Node) -> None:
        """Where that fails with what is remembered of this node: with what the API server says, if it differs."""
        try:
            await self._programmer.start()
        except ProgrammingError as error:
            if self._watching:
                raise
            log.warning("remembered_node_unusable", reason=str(error))
            self._start_watches(tasks)
            told = await Signal(self._tables.nodes).until(self._told_node, NEVER)
            if (told.internal_ips, told.router_ips) == (known.internal_ips, known.router_ips):
                raise
            await self._programmer.start()

    def _start_watches(self, tasks: asyncio.TaskGroup) -> None:
        self._watching = True
        for reflector in self._reflectors:
            tasks.create_task(reflector.run())

    def _start_followers(self, tasks: asyncio.TaskGroup) -> None:
        datapath = KernelDatapath(self._settings, self._programmer)
        server = CniServer(self._paths.cni_socket, Commands(self._store, self._resolver, datapath))
        server.open()
        tasks.create_task(server.run())
        tasks.create_task(IdentityFollower(self._tables, self._store, self._resolver).run())
        tasks.create_task(Admission(self._tables, self._resolver).run())
        writer = cep.EndpointWriter(self._tables, self._client, self._settings.node_name, self._programmer.enforcement)
        tasks.create_task(writer.run())
        tasks.create_task(self._probes.run())
        reporter = policystatus.PolicyStatusWriter(
            self._tables, self._client, self._settings.node_name, self._programmer.enforced
        )
        self._programmer.on_enforced(reporter.changed.fire)
        tasks.create_task(reporter.run())
        tasks.create_task(self._l2.run())

    def _own_node(self) -> Node | None:
        """The row of this node once it is of use: with a pod CIDR and a router address."""
        node = self._tables.nodes.get(self._settings.node_name)
        return node if node is not None and node.pod_cidrs and node.router_ips else None

    def _told_node(self) -> Node | None:
        """The row of this node from the API server: one that is remembered has no uid."""
        node = self._own_node()
        return node if node is not None and node.uid else None

    def _remember(self, name: str, file: Any) -> None:
        node = self._own_node()
        if name == self._settings.node_name and node is not None:
            statefiles.save_node(file, node)
