"""What a cluster's network is asked for, and the two there are. Chosen by up.py from `--network`."""

from dataclasses import dataclass, field
from typing import Protocol

from seta_playground import binaries, network_plain, network_seta, plan, state
from seta_playground.errors import PlaygroundError
from seta_playground.node_spec import Service
from seta_playground.progress import Progress


@dataclass(frozen=True)
class Additions:
    """What a network adds to a node besides containerd and kubelet."""

    plugins: tuple[str, ...]  # Debian's CNI plugins in /opt/cni/bin
    services: list[Service] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)  # path on the node -> content


class Network(Protocol):
    def check(self) -> None:
        """Fail early where what the user asked for cannot work."""

    def additions(self, node: plan.Node, /) -> Additions:
        """What the node has for this network's sake."""
        ...

    def connect(self, cluster: plan.Plan, /) -> None:
        """Set up what lies between the nodes, before they start."""

    def install(self, cluster: state.Cluster, progress: Progress, /) -> None:
        """Install what runs in pods, once the API server answers."""


class Plain:
    """Everything it consists of is there when the nodes start."""

    def __init__(self, settings: state.Settings, programs: binaries.Binaries) -> None:
        self._mode = settings.kube_proxy
        self._programs = programs
        if settings.values:
            raise PlaygroundError("--set gives values to Seta's chart: it does not go with --network plain")

    def check(self) -> None:
        pass

    def additions(self, node: plan.Node) -> Additions:
        services = network_plain.services(node, self._programs, self._mode)
        return Additions(network_plain.PLUGINS, services, network_plain.files(node))

    def connect(self, cluster: plan.Plan) -> None:
        network_plain.connect(cluster)

    def install(self, _cluster: state.Cluster, _progress: Progress) -> None:
        pass


class Seta:
    """Nodes start without a network; the chart brings it. All they have is what containerd wants for any sandbox."""

    def __init__(self, settings: state.Settings, programs: binaries.Binaries) -> None:
        alone = ("operator.replicas=1",) if settings.nodes == 1 else ()  # no two operators on one node
        self._values = (*alone, *settings.values)
        self._helm = programs.path("helm")
        if settings.kube_proxy:
            raise PlaygroundError("--kube-proxy goes with --network plain: with Seta there is none")

    def check(self) -> None:
        network_seta.check(self._helm, self._values)

    def additions(self, _node: plan.Node) -> Additions:
        return Additions(plugins=("loopback",))

    def connect(self, _cluster: plan.Plan) -> None:
        pass

    def install(self, cluster: state.Cluster, progress: Progress) -> None:
        with progress.step("helm install seta deploy/chart"):
            network_seta.install(self._helm, cluster.kubeconfig, self._values)


def of(settings: state.Settings, programs: binaries.Binaries) -> Network:
    return Plain(settings, programs) if settings.network == "plain" else Seta(settings, programs)
