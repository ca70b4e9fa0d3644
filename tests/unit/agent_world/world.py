"""A node in a test: tables with one node, an API server of dicts, a kernel that does what it is told."""

import ipaddress

from seta_agent import kube
from seta_agent.cni.commands import Commands
from seta_agent.cni.endpoints import EndpointStore
from seta_agent.cni.identity import IdentityResolver
from seta_agent.cni.request import PodRef, Request
from seta_agent.tables import Identity, Node, Pod, SelectorSet, Tables
from seta_crds.labels import LabelFilter

NODE = "k8s-w1"
XWING_LABELS = frozenset(
    {
        "k8s:org=alliance",
        "k8s:io.kubernetes.pod.namespace=default",
        "k8s:io.cilium.k8s.policy.cluster=default",
        "k8s:io.cilium.k8s.policy.serviceaccount=pilot",
        "k8s:io.cilium.k8s.namespace.labels.team=rebels",
    }
)


def node(cidr: str = "10.0.1.0/24") -> Node:
    network = ipaddress.ip_network(cidr)
    return Node(NODE, (ipaddress.ip_address("192.168.10.101"),), (network[1],), (network,))


def xwing(**changes) -> Pod:
    fields = {"namespace": "default", "name": "xwing", "uid": "u1", "labels": {"org": "alliance"}}
    return Pod(**{**fields, "service_account": "pilot", **changes})


def added(container: str) -> Request:
    """What the runtime asks for a new container of the pod xwing."""
    return Request("ADD", container, PodRef("default", "xwing", "u1"), "/var/run/netns/x", {"name": "seta"}, "1.0.0")


def identity(number: int = 300, *, sets: tuple[str, ...] = (), labels: frozenset[str] = XWING_LABELS) -> Identity:
    return Identity(number, labels, sets)


def selector_set(name: str, *identities: int) -> SelectorSet:
    return SelectorSet(name, "org=alliance", frozenset(identities))


class ApiServer:
    """Objects by path; what is not there is gone, and nothing answers while `down`."""

    def __init__(self) -> None:
        self.objects: dict[str, dict] = {}
        self.asked: list[str] = []
        self.down = False

    async def get(self, path, params=None):  # noqa: ARG002
        self.asked.append(path)
        if self.down:
            raise kube.KubeError(0, "connection refused")
        if path not in self.objects:
            raise kube.KubeError(404, "not found")
        return self.objects[path]


class Kernel:
    """Veths by name; what it must not do is in `refuses`: method name -> exception."""

    def __init__(self) -> None:
        self.synced = True
        self.veths: dict[str, ipaddress.IPv4Address] = {}
        self.refuses: dict[str, Exception] = {}
        self.done: list[str] = []

    async def create_veth(self, netns_fd, container_id, ipv4, router):  # noqa: ARG002
        self._do("create_veth")
        self.veths[f"lxc{container_id}"] = ipv4
        return f"lxc{container_id}", 7, "0a:00:00:00:00:01", "0a:00:00:00:00:02"

    async def delete_veth(self, ifname):
        self._do("delete_veth")
        self.veths.pop(ifname, None)

    async def endpoint_programmed(self, endpoint_id, timeout):  # noqa: ARG002, ASYNC109
        self._do(f"programmed {endpoint_id}")

    async def endpoint_removed(self, endpoint_id, timeout):  # noqa: ARG002, ASYNC109
        self._do(f"removed {endpoint_id}")

    def _do(self, what: str) -> None:
        self.done.append(what)
        if error := self.refuses.get(what.split(maxsplit=1)[0]):
            raise error


class World:
    """All of it, with the pod `xwing` known and its identity there."""

    def __init__(self, directory) -> None:
        self.tables = Tables()
        self.tables.nodes.set(NODE, node())
        self.tables.namespaces.set("default", {"team": "rebels"})
        self.tables.pods.set(("default", "xwing"), xwing())
        self.tables.identities.set(300, identity())
        self.api, self.kernel, self.directory = ApiServer(), Kernel(), directory
        self.store = EndpointStore(self.tables, directory, NODE)
        self.resolver = IdentityResolver(self.tables, self.api, "default", LabelFilter())
        self.commands = Commands(self.store, self.resolver, self.kernel)
