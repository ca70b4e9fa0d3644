"""A cluster in this process: the operator's part about services and nodes, and an agent's on each node.

Kubernetes' objects in; ServiceTables in a dictionary and LB maps in memory out. What lies between is what ships.
"""

import asyncio
import ipaddress

from seta_agent.desired import lbnode
from seta_agent.programmer.services import ServiceStage
from seta_agent.settings import Settings
from seta_agent.tables import Endpoint, Node, Tables
from seta_agent.watch import cluster, pods, services
from seta_crds import names
from seta_operator.services import frontends
from seta_operator.services import tables as operator_tables
from tests.services.kernel import Kernel
from tests.unit.operator.fakes import Bench, Subjects, settle

KINDS = {kind.kind: kind for kind in (names.SERVICE, names.ENDPOINT_SLICE, names.NODE)}
OPERATOR_KEYS = {  # ConfigMap key -> option
    "k8s-service-proxy-name": "proxy_name",
    "bpf-lb-algorithm-annotation": "algorithm_annotation",
    "bpf-lb-mode-annotation": "mode_annotation",
}


class World:
    def __init__(self):
        self.bench = Bench()
        self.agents = {}  # node -> Agent
        self._pods = {}  # (namespace, name) -> pod
        self._devices = {}
        self._settings = {}
        self.start({}, {})

    def start(self, settings, devices):
        """Operator and agents, anew: they find what the ones before have left. `devices`: node -> more addresses."""
        own = {OPERATOR_KEYS[key]: value for key, value in settings.items() if key in OPERATOR_KEYS}
        self._settings = {key.replace("-", "_"): value for key, value in settings.items() if key not in OPERATOR_KEYS}
        self._devices = devices
        for listeners in self.bench.cluster._listeners.values():
            listeners.clear()
        self._tables = operator_tables.Tables(self.bench.cluster, self.bench.writer, frontends.Options(**own))
        self._nodes = Subjects(self.bench).nodes
        self._tables.start()
        self._nodes.start()
        for agent in self.agents.values():
            agent.start(self._settings, self._devices.get(agent.name, ()))

    def apply(self, item):
        """An object as kubectl would apply it."""
        kind, meta = item["kind"], item["metadata"]
        if kind == "Pod":
            self._pods[meta.get("namespace", "default"), meta["name"]] = _whole(item)
            return
        namespace = "" if kind == "Node" else meta.get("namespace", "default")
        body = {key: value for key, value in item.items() if key not in {"kind", "metadata"}}
        if kind == "Node":
            body["status"] = {"addresses": [{"type": "InternalIP", "address": one} for one in item["addresses"]]}
        self.bench.seen(
            KINDS[kind], meta["name"], namespace, metadata={"uid": f"{kind}-{meta['name']}", **meta}, **body
        )

    def delete(self, item):
        kind, meta = item["kind"], item["metadata"]
        if kind == "Pod":
            del self._pods[meta.get("namespace", "default"), meta["name"]]
        else:
            namespace = "" if kind == "Node" else meta.get("namespace", "default")
            self.bench.gone(KINDS[kind], meta["name"], namespace)

    def settle(self):
        """Until nobody has anything left to do: how many entries the agents changed."""
        asyncio.run(self._decide())
        items = [body for (kind, _, _), body in self.bench.api.objects.items() if kind == names.CILIUM_NODE]
        for item in items:
            row = cluster.node(item)
            self.agents.setdefault(row.name, Agent(row.name, self._settings, self._devices.get(row.name, ())))
            self.agents[row.name].node = row
        for name in self.agents.keys() - {item["metadata"]["name"] for item in items}:
            del self.agents[name]
        return sum(agent.settle(self.service_tables().values(), self._pods.values()) for agent in self.agents.values())

    async def _decide(self):
        await settle(self._nodes)
        await settle(self._tables)

    def service_tables(self):
        """(namespace, name) -> the object."""
        objects = self.bench.api.objects.items()
        return {(space, name): body for (kind, space, name), body in objects if kind == names.SERVICE_TABLE}


class Agent:
    """A node's part about services: its watches, its stage and its kernel."""

    def __init__(self, name, settings, addresses):
        self.name, self.kernel = name, Kernel()
        self.node = Node(name, (), (), ())
        self.start(settings, addresses)

    def start(self, settings, addresses):
        self._settings = Settings.model_validate({"bpf_lb_maglev_table_size": 251, **settings})
        self._addresses = [ipaddress.ip_address(one) for one in addresses]
        self._tables = Tables()
        self._maps = self.kernel.opened()
        self.stage = ServiceStage(self._settings, self._tables, lambda: None)
        self.stage.restore(self._maps)

    def settle(self, service_tables, every_pod):
        own = [one for one in every_pod if one["spec"]["nodeName"] == self.name]
        self._tables.services.replace({services.service_key(one): services.service(one) for one in service_tables})
        self._tables.pods.replace({pods.pod_key(one): row for one in own if (row := pods.pod(one))})
        self._tables.endpoints.replace(
            {number: _endpoint(number, one) for number, one in enumerate(own, 1) if not one["spec"].get("hostNetwork")}
        )
        view = lbnode.view(self._settings, self.node, (*self.node.internal_ips, *self._addresses))
        return self.stage.apply(self._maps, view)


def _whole(pod):
    return {**pod, "metadata": {"namespace": "default", "uid": pod["metadata"]["name"], **pod["metadata"]}}


def _endpoint(number, pod):
    meta = pod["metadata"]
    address = ipaddress.ip_address(pod["status"]["podIP"])
    return Endpoint(number, meta["namespace"], meta["name"], meta["uid"], "c", f"lxc{number}", number, "", "", address)
