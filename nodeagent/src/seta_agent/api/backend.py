"""What the API answers with: tables, settings, the kernel's maps and the monitor, joined. Made by the agent.

Reading maps is blocking and may be long (half a million connections): those answers are coroutines that read in a
thread. Tables are read in the event loop, which alone writes them.
"""

import asyncio
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from seta_agent import process
from seta_agent.api import connections, dumps, lbdumps, mapstrings, questions, views
from seta_agent.api.explain import Explainer
from seta_agent.api.kernel import KernelReader
from seta_agent.api.parties import PartyError
from seta_agent.api.questions import QuestionError
from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.cni import ipam
from seta_agent.cni.endpoints import EndpointStore, v4_cidrs
from seta_agent.desired.endpoints import HOST_ENDPOINT
from seta_agent.l2.service import L2Announcements
from seta_agent.monitor import decode
from seta_agent.monitor.hub import MonitorHub
from seta_agent.monitor.why import Why
from seta_agent.probes.node import NodeProbes
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.programmer.node import NodeProgrammer
from seta_agent.readiness import Readiness
from seta_agent.settings import Settings, key_of
from seta_agent.tables import Endpoint, Tables
from seta_agent.watch.reflector import Reflector

Json = dict[str, Any]
Answer = TypeVar("Answer")
POLICY_MAP = "cilium_policy_v2_"
SWITCH = {"Enabled": True, "Disabled": False}


class NotFoundError(Exception):
    """What was asked for does not exist; the sentence says what does."""


class BadRequestError(Exception):
    """It makes no sense; the sentence says what would."""


class UnavailableError(Exception):
    """It cannot be told now; the sentence says why."""


class Backend:
    """One method per path of the API."""

    def __init__(
        self,
        settings: Settings,
        tables: Tables,
        programmer: NodeProgrammer,
        readiness: Readiness,
        reflectors: Sequence[Reflector[Any, Any]],
        *,
        store: EndpointStore,
        probes: NodeProbes,
        l2: L2Announcements,
    ) -> None:
        self._store = store
        self._probes = probes
        self._l2 = l2
        self._settings = settings
        self._tables = tables
        self._programmer = programmer
        self._readiness = readiness
        self._reflectors = reflectors
        self._kernel = KernelReader(settings, programmer)
        self._hub: MonitorHub | None = None

    def status(self) -> Json:
        sentence = self._readiness.sentence()
        node = self._tables.nodes.get(self._settings.node_name)
        return {
            "node": self._settings.node_name,
            "ready": self._readiness.seconds > 0 and not sentence,
            "sentence": sentence or self._readiness.trouble(),
            "ready_after_seconds": self._readiness.seconds,
            "version": importlib.metadata.version("seta-agent"),
            "rss_bytes": process.rss_bytes(),
            "routing": f"tunnel ({self._settings.tunnel_protocol})" if self._settings.tunnel else "native",
            "masquerade": self._settings.enable_ipv4_masquerade,
            "kube_proxy_replacement": self._settings.kube_proxy_replacement,
            "policy_enforcement": self._settings.enable_policy,
            "pod_cidrs": [str(cidr) for cidr in node.pod_cidrs] if node else [],
            "capacity": ipam.usable(v4_cidrs(node)) if node else 0,
            "addresses": [
                {"ip": str(row.ipv4), "owner": f"{row.namespace}/{row.pod}"} for row in self._tables.endpoints
            ],
            "counts": {
                name: len(getattr(self._tables, name)) for name in ("endpoints", "policies", "services", "identities")
            },
            "monitor_listeners": self._hub.listeners if self._hub else 0,
            "l2_announcements": self._l2.describe(),
            "watches": [reflector.describe() for reflector in self._reflectors],
            "probes": self._probes.describe(),
            "programmer": self._programmer.status(),
        }

    def endpoints(self) -> list[Json]:
        return views.endpoints(self._tables, self._programmer.enforcement)

    def endpoint(self, name: str) -> Json:
        row = self._endpoint(name)
        return views.endpoint(row, self._programmer.enforcement(row))

    def endpoint_options(self, name: str) -> Json:
        return views.options(self._endpoint(name))

    def configure_endpoint(self, name: str, wanted: Mapping[str, str]) -> Json:
        """The options after the change. `BadRequestError` for what is no option or no value; then none changes."""
        row = self._endpoint(name)
        for option, value in wanted.items():
            if option != views.AUDIT_OPTION or value not in SWITCH:
                raise BadRequestError(f"{option}={value} is no option; there is {views.AUDIT_OPTION}=Enabled|Disabled")
        for value in wanted.values():
            row = self._store.configure(row.id, audit=SWITCH[value]) or row
        return views.options(row)

    def _endpoint(self, name: str) -> Endpoint:
        row = self._tables.endpoints.get(int(name)) if name.isdigit() else None
        if row is None:
            raise NotFoundError(f"there is no endpoint {name} on this node; see `seta endpoint list`")
        return row

    def identities(self) -> list[Json]:
        return views.identities(self._tables)

    def identity(self, name: str) -> list[Json]:
        found = [item for item in self.identities() if str(item["id"]) == name]
        if not found:
            raise NotFoundError(f"there is no identity {name}; see `seta identity list`")
        return found

    def ips(self) -> list[Json]:
        return views.ips(self._tables, self._settings.node_name)

    def services(self) -> list[Json]:
        return views.services([*self._tables.services, *self._programmer.host_ports()])

    def policy(self) -> list[Json]:
        return views.policies(self._tables)

    def selectors(self) -> list[Json]:
        return views.selectors(self._tables)

    def explain(self, source: str, destination: str, port: str) -> Json:
        """May `source` reach `destination`, and why. Raises BadRequestError, UnavailableError."""
        engine = self._programmer.policy_engine
        if not engine.listed:
            raise UnavailableError("the policies have not been listed yet; try again in a moment")
        settings = self._settings
        explainer = Explainer(
            self._tables, engine, host_policies=settings.enable_host_firewall, tunnel_port=settings.tunnel_port
        )
        try:
            return explainer.explain(source, destination, questions.parse(port))
        except (PartyError, QuestionError) as error:
            raise BadRequestError(str(error)) from error

    def config(self) -> list[Json]:
        return [
            {"name": key_of(name), "value": value, "set": value != type(self._settings).model_fields[name].default}
            for name, value in self._settings
        ]

    async def maps(self, *, content: bool) -> list[Json]:
        return await self._read(lambda: [self._map_entry(name, content=content) for name in self._kernel.names()])

    async def map(self, name: str) -> list[Json]:
        return await self._read(lambda: mapstrings.entries(name, *self._programmer.dump_map(name)))

    async def bpf_lb(self) -> Json:
        return await self._read(lambda: lbdumps.lb(self._kernel.dump))

    async def bpf_maglev(self) -> list[Json]:
        return await self._read(lambda: lbdumps.maglev(self._kernel.inner_words))

    async def bpf_maglev_table(self, name: str) -> Json:
        table = None
        if name.isdigit():
            table = await self._read(lambda: lbdumps.maglev_table(self._kernel.inner_words, int(name)))
        if table is None:
            raise NotFoundError(f"service {name} has no Maglev table; see `seta bpf lb maglev list`")
        return {"id": int(name), "table": table}

    async def bpf_policy(self, name: str) -> list[Json]:
        number = HOST_ENDPOINT if name == str(HOST_ENDPOINT) and self._guards_host() else self._endpoint(name).id
        keys, values = await self._read(lambda: self._kernel.dump(f"{POLICY_MAP}{number:05d}"))
        return self._policy(keys, values)

    async def bpf_policies(self) -> list[Json]:
        """Every endpoint's policy map, and the node's own if a policy is for it."""
        numbers = sorted(self._tables.endpoints.keys()) + [HOST_ENDPOINT] * self._guards_host()
        directory = self._settings.maps_dir
        return [
            {
                "endpoint": number,
                "path": str(directory / f"{POLICY_MAP}{number:05d}"),
                "entries": await self.bpf_policy(str(number)),
            }
            for number in numbers
        ]

    def _guards_host(self) -> bool:
        return (self._settings.maps_dir / f"{POLICY_MAP}{HOST_ENDPOINT}").exists()

    async def bpf_ipcache(self) -> list[Json]:
        return await self._read(lambda: dumps.ipcache(*self._kernel.dump("cilium_ipcache_v2")))

    async def bpf_ct(self) -> list[Json]:
        return await self._read(lambda: connections.ct(self._kernel.dump))

    async def bpf_nat(self) -> list[Json]:
        return await self._read(lambda: connections.nat(self._kernel.dump))

    async def bpf_l2_responder(self) -> list[Json]:
        return await self._read(lambda: dumps.l2_responder(self._kernel.dump))

    async def bpf_endpoint(self) -> list[Json]:
        return await self._read(lambda: dumps.endpoints(*self._kernel.dump("cilium_lxc")))

    def monitor(self) -> MonitorHub:
        """Raises UnavailableError while there is no ring of events to read; so does listening to it."""
        if self._hub is None:
            names = decode.enums(_told(self._kernel.event_enums))
            self._hub = MonitorHub(
                lambda: _told(self._kernel.open_events), lambda: _told(self._kernel.lost_events), names, self._why()
            )
        return self._hub

    def _why(self) -> Why:
        return Why(self._programmer.policies_of, self._default_deny)

    def _default_deny(self, number: int, egress: bool) -> tuple[str, ...] | None:  # noqa: FBT001 - as the hub asks
        """None for an endpoint that is gone by now."""
        known = number == HOST_ENDPOINT or self._tables.endpoints.get(number) is not None
        return self._programmer.default_deny(number, egress=egress) if known else None

    def _policy(self, keys: Any, values: Any) -> list[Json]:
        return dumps.policy(
            keys, values, lambda number: views.identity_labels(self._tables, number), self._programmer.policies_of
        )

    def _map_entry(self, name: str, *, content: bool) -> Json:
        keys, values = self._kernel.dump(name)
        entry = {"name": name, "entries": len(keys), "errors": self._programmer.map_errors(name), "cache": True}
        return {**entry, "content": mapstrings.entries(name, keys, values)} if content else entry

    async def _read(self, read: Callable[[], Answer]) -> Answer:
        return await asyncio.to_thread(_told, read)


def _told(read: Callable[[], Answer]) -> Answer:
    """The answer, or what went wrong as the API says it."""
    try:
        return read()
    except ProgrammingError as error:
        raise (UnavailableError if error.retry else NotFoundError)(str(error)) from error
    except BpfError as error:
        if error.reason is Reason.NOT_FOUND:
            raise NotFoundError(f"{error}; see `seta map list`") from error
        raise UnavailableError(str(error)) from error
