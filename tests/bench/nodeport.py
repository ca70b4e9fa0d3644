"""NodePort and LoadBalancer from the world: Seta against kube-proxy, in turns, on clusters that run side by side.

The world's host asks a node that has no backend, so that each packet is translated there and carried on to another.
Who serves and who asks share one core, because wake-ups of an idle core would drown the path.
"""

import concurrent.futures
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.bench import objects, report, services
from tests.bench.cluster import PLAYGROUND, Cluster

ROUNDS = 11
SECONDS = "1"
ASKED, ASKED_ADDRESS, SERVING = "k8s-w1", "192.168.10.101", "k8s-w2"
NETWORK = "10.10.201"  # of the LoadBalancer addresses, which the router sends to the node that is asked
MEASURED = 5  # services that are asked in turn: where a service stands among kube-proxy's rules is chance
NODE_PORTS = 5  # every so many-th of the others has a node port: there are no more than 2,768
MODES = {"crr": "connections", "rr": "requests on one connection"}
SERVICES = "/api/v1/namespaces/default/services"
HOW = (
    f"From the world through a node without backends: connect, one byte each way, close (or one byte each way again "
    f"and again); {ROUNDS} rounds of {SECONDS} s in turns over {MEASURED} services."
    " A fifth of the others has node ports."
)
Door = tuple[str, str]  # address, port


class Site:
    """A cluster, and the ways in to its measured services. doors: "NodePort" or "LoadBalancer" -> one per service."""

    def __init__(self, cluster: Cluster, netbench: pathlib.Path) -> None:
        self.cluster = cluster
        self.doors: dict[str, list[Door]] = {}
        self._netbench = str(netbench)
        self._present = MEASURED
        self._addresses: list[str] = []

    def prepare(self) -> None:
        for n in range(2):
            self._addresses.append(self.cluster.pod(f"backend-{n}", SERVING, pathlib.Path(self._netbench)))
            self.cluster.serve(f"backend-{n}")
        self._exec("router", "ip", "route", "replace", f"{NETWORK}.0/24", "via", ASKED_ADDRESS)
        objects.create(self.cluster, SERVICES, map(_measured, range(MEASURED)))
        self._slices(range(MEASURED))
        ports = []
        for n in range(MEASURED):
            status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": f"{NETWORK}.{n + 1}"}]}}})
            name = f"bench-{n}"
            self.cluster.kubectl("patch", "service", name, "--subresource=status", "--type=merge", "-p", status)
            ports.append(str(self.cluster.get("service", name)["spec"]["ports"][0]["nodePort"]))
        self.doors["NodePort"] = [(ASKED_ADDRESS, port) for port in ports]
        self.doors["LoadBalancer"] = [(f"{NETWORK}.{n + 1}", str(services.PORT)) for n in range(MEASURED)]

    def grow(self, size: int) -> None:
        """There are so many services then, and the measured ones are served."""
        numbers = range(self._present, max(size, self._present))
        with self.cluster.kube_proxy_frozen(ASKED):
            objects.create(self.cluster, SERVICES, map(_other, numbers))
            self._slices(numbers)
        self._present = max(size, self._present)
        if numbers:  # what was made last is served last
            last = self.cluster.get("service", f"bench-{numbers[-1]}")["spec"]["clusterIP"]
            services.until(lambda: self._answers(ASKED, last, str(services.PORT)), last)
        for address, port in [door for doors in self.doors.values() for door in doors]:
            services.until(lambda to=address, at=port: self._answers("world", to, at), f"{address}:{port}")

    def rate(self, mode: str, door: Door) -> float:
        return float(self._exec("world", self._netbench, mode, *door, SECONDS, "1"))

    def _slices(self, numbers: range) -> None:
        objects.create(self.cluster, services.SLICES, (services.endpoints(n, self._addresses) for n in numbers))

    def _answers(self, place: str, address: str, port: str) -> bool:
        return "served" in self._exec(place, "sh", "-c", services.probe(address, int(port)))

    def _exec(self, place: str, *command: str) -> str:
        return self.cluster.run(PLAYGROUND, "exec", "--name", self.cluster.name, place, "--", *command)


def measure(clusters: dict[str, Cluster], netbench: pathlib.Path, sizes: dict[str, int]) -> report.Section:
    """clusters: label -> cluster; sizes: label -> how many services it has; the last is Seta, all others baselines."""
    sites = {label: Site(cluster, netbench) for label, cluster in clusters.items()}
    _at_once(Site.prepare, sites)
    for label, site in sites.items():  # at once, their API servers would be too slow for their clients
        site.grow(sizes[label])
    samples: dict[tuple[str, str, str], list[float]] = {}  # (kind, mode, label) -> one figure a round
    for turn in range(ROUNDS):
        for kind in ("NodePort", "LoadBalancer"):
            for mode in MODES:
                for label, site in sites.items():
                    rate = site.rate(mode, site.doors[kind][turn % MEASURED])
                    samples.setdefault((kind, mode, label), []).append(rate)
    size = max(sizes.values())
    return report.Section(f"From the world, {size:,} services", HOW, list(_figures(samples, list(sites))))


def _at_once(task: Callable[[Site], None], sites: dict[str, Site]) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(task, sites.values()))


def _figures(samples: dict[tuple[str, str, str], list[float]], labels: list[str]) -> Iterator[report.Figure]:
    for kind in ("NodePort", "LoadBalancer"):
        for mode, name in MODES.items():
            *others, seta = (
                report.Figure(f"{kind} {name}, {label}", "/s", samples[kind, mode, label]) for label in labels
            )
            yield from others
            goal = "> 1; ≥ 0.97 × itself" if len(others) > 2 else "> 1"  # beside two modes
            yield report.Figure(seta.name, "/s", seta.samples, more=others, goal=goal)


def _measured(number: int) -> dict[str, Any]:
    body = services.service(number)
    body["spec"] |= {"type": "LoadBalancer", "loadBalancerClass": "example.org/by-hand"}
    return body


def _other(number: int) -> dict[str, Any]:
    body = services.service(number)
    body["spec"]["type"] = "ClusterIP" if number % NODE_PORTS else "NodePort"
    return body
