"""Puts the operator together: tables, writer, subjects, kopf; and runs them until one fails or a signal comes.

All tasks are made and ended here. A subject that dies is a bug: the process ends with it and Kubernetes starts it
again, which is safe because everything is level-based. Of several operators one decides; the others stand by with
everything watched (store/leadership.py).
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import kopf
import structlog

from seta_crds import names
from seta_crds.labels import LabelFilter
from seta_operator import health
from seta_operator.handlers import watching
from seta_operator.services import frontends
from seta_operator.services.addresses import PodCIDRs
from seta_operator.services.l2 import L2
from seta_operator.services.l2_off import L2Off
from seta_operator.services.lbipam import LBIPAM
from seta_operator.services.membership import Membership
from seta_operator.services.nodes import Nodes
from seta_operator.services.policy import Policy
from seta_operator.services.slices import Slices
from seta_operator.services.subject import Subject
from seta_operator.services.tables import Tables
from seta_operator.services.verdicts import Verdicts
from seta_operator.settings import Settings
from seta_operator.store import connection, errors, leadership, sweep
from seta_operator.store.api import Api, Pace
from seta_operator.store.cluster import BULK, READERS, Cluster
from seta_operator.store.leadership import Leadership, LostError
from seta_operator.store.reflector import Nobody, Reflector
from seta_operator.store.writer import Writer

LEAST_SILENCE = 30.0  # seconds without a word after which the watch of leases counts as broken
BULK_SILENCE = 150.0  # and other watches without kopf
URGENT = Pace(read=2.0, write=5.0)  # who announces what: an answer that comes later says little about who is alive
FIRST_PAUSE, LAST_PAUSE = 0.1, 2.0  # seconds between looks at what is not listed yet
log = structlog.get_logger()
# Given, because kopf would ask for the user's name, and a container's user has none. (kopf does not export the type.)
IDENTITY: Any = "seta-operator"


class App:
    """The operator's parts."""

    def __init__(self, settings: Settings, leadership: Leadership, api: Api, urgent: Api) -> None:
        """`api` writes while the operator leads, and so does `urgent`, for what must not wait behind much work."""
        self.api, self.urgent, self.cluster = api, urgent, Cluster()
        self.leadership = leadership
        self.writer = Writer(api, self.cluster)
        self._stopping = asyncio.Event()
        self._state = "starting"  # what it is waiting for; "" once it decides
        pool = PodCIDRs(settings.cluster_pool_ipv4_cidr, settings.cluster_pool_ipv4_mask_size)
        nodes_too = "nodes" in settings.policy_cidr_match_mode
        own_labels = LabelFilter(settings.labels)
        membership = Membership(self.cluster, own_labels, settings.cluster_name, cidrs_match_nodes=nodes_too)
        verdicts = Verdicts(self.cluster, self.writer)
        self.policy = Policy(
            self.cluster,
            self.writer,
            membership,
            verdicts,
            grace=settings.identity_gc_interval,
            host_firewall=settings.enable_host_firewall,
        )
        self.subjects: tuple[Subject[Any], ...] = (
            self.policy,
            verdicts,
            Nodes(self.cluster, self.writer, pool, membership.nodes),
            Slices(self.cluster, self.writer),
            Tables(self.cluster, self.writer, _service_options(settings)),
            LBIPAM(self.cluster, self.writer, settings.default_lb_service_ipam),
        )
        self._bulk = [Reflector(api, self.cluster, (kind, ""), Nobody(), silence=BULK_SILENCE) for kind in BULK]
        self._announcements(settings, connection.namespace())

    def _announcements(self, settings: Settings, namespace: str) -> None:
        """L2 announcements, or what takes them back; the watch of leases that they need."""
        self.leases: Reflector | None = None
        self._listen: Callable[[], None] = lambda: None  # from now on silence means something
        if not settings.enable_l2_announcements:
            self.subjects += (L2Off(self.cluster, self.writer, namespace),)
            return
        duration = settings.l2_announcements_lease_duration
        announcements = L2(
            self.cluster,
            Writer(self.urgent, self.cluster),
            namespace=namespace,
            duration=duration,
            deadline=settings.l2_announcements_renew_deadline,
            proxy_name=settings.k8s_service_proxy_name,
        )
        silence = max(LEAST_SILENCE, 2 * duration)
        self.leases = Reflector(self.urgent, self.cluster, (names.LEASE, namespace), announcements, silence=silence)
        self._listen = announcements.listen
        self.subjects += (announcements,)

    def problem(self) -> str:
        """What keeps the operator from working, or nothing."""
        return self._state

    async def wait_for_crds(self) -> None:
        """Wait until every resource that is watched is served; kopf would go on with those there are."""
        while True:
            try:
                missing = [
                    kind.crd_name
                    for kind in READERS
                    if "." in kind.group and kind.plural not in await self.api.served(kind.api_version)
                ]
            except errors.ApiError as error:
                self._waiting(f"the API server does not answer: {error}")
            else:
                if not missing:
                    return
                self._waiting(f"resources are not served: apply the CRDs of the chart ({', '.join(missing)})")
            await asyncio.sleep(1)

    async def wait_for_whole_picture(self) -> None:
        """Wait until the watches have shown all there is: allocating or collecting on less would do harm."""
        behind, pause = await self._behind(), FIRST_PAUSE
        while behind:
            counts = ", ".join(f"{len(keys)} {kind.plural}" for kind, keys in behind.items())
            self._waiting(f"not everything is listed yet: {counts}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)
            with contextlib.suppress(errors.ApiError):
                behind = await sweep.still_behind(self.api, self.cluster, behind)
        if self.leases is not None and not self.leases.listed.is_set():
            self._waiting("not everything is listed yet: leases")
            await self.leases.listed.wait()
        self._state = ""

    async def _behind(self) -> sweep.Behind:
        while True:
            try:
                return await sweep.behind(self.api, self.cluster, READERS)
            except errors.ApiError as error:
                self._waiting(f"the API server does not answer: {error}")
                await asyncio.sleep(LAST_PAUSE)

    def _waiting(self, state: str) -> None:
        self._state = state
        log.info("operator.waiting", state=state)

    async def decide(self) -> None:
        """Run the subjects until kopf ends: it would wait five seconds for tasks that it did not make."""
        watch = [one.run() for one in (*self._bulk, self.leases) if one is not None]
        try:
            await _first_of(self._decide(), self._stopping.wait(), *watch)
        except* LostError as lost:
            log.warning("leadership.lost", reason=str(lost.exceptions[0]))
        finally:
            await self.leadership.resign()

    async def _decide(self) -> None:
        """Stand by with the whole picture, then lead, from what the operator before has written to the last."""
        await self.wait_for_whole_picture()
        log.info("cluster.listed", objects={kind.plural: len(table) for kind, table in self.cluster.tables.items()})
        self._listen()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.leadership.run(), name="leadership")
            await self.leadership.won.wait()
            await self.wait_for_whole_picture()
            for subject in self.subjects:
                group.create_task(subject.run(), name=subject.name)
            group.create_task(self.policy.collect_for_ever(), name="collect")
            group.create_task(sweep.run(self.api, self.cluster), name="sweep")

    async def watch(self) -> None:
        """Run kopf until a signal ends it."""
        await kopf.operator(
            registry=watching.registry(self.cluster, self._stopping),
            settings=watching.settings(),
            clusterwide=True,
            identity=IDENTITY,
        )


def _service_options(settings: Settings) -> frontends.Options:
    return frontends.Options(
        proxy_name=settings.k8s_service_proxy_name,
        algorithm_annotation=settings.bpf_lb_algorithm_annotation,
        mode_annotation=settings.bpf_lb_mode_annotation,
    )


async def run(settings: Settings, health_port: int) -> None:
    """Run until a signal comes.

    Raises:
        NoClusterError: there is no API server to talk to.

    """
    async with contextlib.AsyncExitStack() as stack:
        renewing = await stack.enter_async_context(Api(connection.login, leadership.PACE))
        identity = os.environ.get("K8S_NODE_NAME") or socket.gethostname()
        leader = Leadership(renewing, connection.namespace(), identity)
        work = await stack.enter_async_context(Api(connection.login, may_write=leader.may_write))
        urgent = await stack.enter_async_context(Api(connection.login, URGENT, leader.may_write))
        app = App(settings, leader, work, urgent)
        runner = await health.serve(app.problem, health_port)
        stack.push_async_callback(runner.cleanup)
        await app.wait_for_crds()
        await _first_of(app.decide(), app.watch())


async def _first_of(*parts: Coroutine[Any, Any, Any]) -> None:
    """Until one ends (kopf, on a signal) or fails; the others are then cancelled."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled():
            task.result()
