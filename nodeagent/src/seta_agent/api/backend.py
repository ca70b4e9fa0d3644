"""What the API answers with: tables, settings, the kernel's maps and the monitor, joined. Made by the agent.

Tables are read in the event loop, which alone writes them. What reads the kernel's maps is in `inkernel`.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from seta_agent import process
from seta_agent.api import questions, views
from seta_agent.api.errors import BadRequestError, NotFoundError, UnavailableError, told
from seta_agent.api.explain import Explainer
from seta_agent.api.inkernel import KernelAnswers
from seta_agent.api.kernel import KernelReader
from seta_agent.api.parties import PartyError
from seta_agent.api.questions import QuestionError
from seta_agent.cni import ipam
from seta_agent.cni.endpoints import EndpointStore, v4_cidrs
from seta_agent.desired.endpoints import HOST_ENDPOINT
from seta_agent.l2.service import L2Announcements
from seta_agent.monitor import decode
from seta_agent.monitor.hub import MonitorHub
from seta_agent.monitor.why import Why
from seta_agent.probes.node import NodeProbes
from seta_agent.programmer.node import NodeProgrammer
from seta_agent.readiness import Readiness
from seta_agent.settings import Settings, key_of
from seta_agent.tables import Tables
from seta_agent.watch.reflector import Reflector

Json = dict[str, Any]
SWITCH = {"Enabled": True, "Disabled": False}


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
        self.kernel = KernelAnswers(settings, tables, programmer, self._kernel)
        self._hub: MonitorHub | None = None

    async def status(self) -> Json:
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
            "drops": await self.kernel.drops(),
            "programmer": self._programmer.status(),
        }

    def endpoints(self) -> list[Json]:
        return views.endpoints(self._tables, self._programmer.enforcement)

    def endpoint(self, name: str) -> Json:
        row = views.by_number(self._tables, name)
        return views.endpoint(row, self._programmer.enforcement(row))

    def endpoint_options(self, name: str) -> Json:
        return views.options(views.by_number(self._tables, name))

    def configure_endpoint(self, name: str, wanted: Mapping[str, str]) -> Json:
        """The options after the change. `BadRequestError` for what is no option or no value; then none changes."""
        row = views.by_number(self._tables, name)
        for option, value in wanted.items():
            if option != views.AUDIT_OPTION or value not in SWITCH:
                raise BadRequestError(f"{option}={value} is no option; there is {views.AUDIT_OPTION}=Enabled|Disabled")
        for value in wanted.values():
            row = self._store.configure(row.id, audit=SWITCH[value]) or row
        return views.options(row)

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
        if not self._tables.policy_listed:
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

    def monitor(self) -> MonitorHub:
        """Raises UnavailableError while there is no ring of events to read; so does listening to it."""
        if self._hub is None:
            names = decode.enums(told(self._kernel.event_enums))
            self._hub = MonitorHub(
                lambda: told(self._kernel.open_events), lambda: told(self._kernel.lost_events), names, self._why()
            )
        return self._hub

    def _why(self) -> Why:
        return Why(self._programmer.policies_of, self._default_deny)

    def _default_deny(self, number: int, egress: bool) -> tuple[str, ...] | None:  # noqa: FBT001 - as the hub asks
        """None for an endpoint that is gone by now."""
        known = number == HOST_ENDPOINT or self._tables.endpoints.get(number) is not None
        return self._programmer.default_deny(number, egress=egress) if known else None
