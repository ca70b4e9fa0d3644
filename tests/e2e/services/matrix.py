"""Every service through every way in, over every protocol, from every place: what is expected, and what happens."""

import dataclasses
import time
from collections.abc import Iterable

from tests.e2e.services import manifests, semantics
from tests.e2e.services.ground import Ground
from tests.e2e.services.manifests import PLAN, Manifest
from tests.e2e.services.semantics import Door, Expected, Place

TIMES = 4  # that each probe is made in a round
WITHIN = 20.0  # seconds until a round must be right
ROUNDS = 12  # of them until every backend must have turned up
NO_ANSWER = ("silent", "refused", "unreachable", "EPERM")  # the last where a node refuses itself
HOST_PORT = "host port"  # what stands where a service's name would


@dataclasses.dataclass(frozen=True)
class Probe:
    client: str
    service: str
    door: Door
    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        way = f"{self.door.kind} at {self.door.node}" if self.door.kind != "ClusterIP" else self.door.kind
        return f"{self.service}, {way}, {self.protocol} from {self.client}"


def probes(ground: Ground, service: str) -> list[Probe]:
    """All of a service."""
    if service == HOST_PORT:
        return list(_of_host_ports(ground))
    manifest = ground.services[service]
    return [
        Probe(client, service, door, port["protocol"], address, port["nodePort" if door.kind == "NodePort" else "port"])
        for client in ground.places
        for door, address in _doors(ground, manifest)
        for port in manifest["spec"]["ports"]
        if _of_interest(manifest, client, door, port["protocol"])
    ]


def _doors(ground: Ground, service: Manifest) -> Iterable[tuple[Door, str]]:
    yield Door("ClusterIP", "k8s-w1"), service["spec"]["clusterIP"]  # where the router sends them
    if service["spec"]["ports"][0].get("nodePort"):
        yield from ((Door("NodePort", node), ground.lan_address(node)) for node in ground.facts.nodes)
    for node, address in manifests.outsides(service["metadata"]["name"]).items():
        yield Door("Outside", node), address


def _of_interest(service: Manifest, client: str, door: Door, protocol: str) -> bool:
    """Source ranges are asked of the world alone: a pod's short way does not pass them, kube-proxy's does. SCTP is not
    asked by nodes, whose own is not translated, nor by the backends, whose raw sockets would hear both ends."""
    if "loadBalancerSourceRanges" in service["spec"] and door.kind == "Outside":
        return client == "world"
    return protocol != "SCTP" or client in ("near", "apart", "world")


def _of_host_ports(ground: Ground) -> Iterable[Probe]:
    for name, backend in PLAN["backends"].items():
        for client in ground.places if "host_port" in backend else ():
            for node in ground.facts.nodes:
                for protocol in ("TCP", "UDP") if client != name else ():
                    door = Door("HostPort", node)
                    address = ground.lan_address(node)
                    yield Probe(client, HOST_PORT, door, protocol, address, backend["host_port"])


def expected(ground: Ground, probe: Probe) -> Expected:
    client = ground.places[probe.client]
    if probe.service == HOST_PORT:
        return semantics.host_port(ground.facts, _with_host_port(ground), client, probe.door)
    return semantics.expected(ground.facts, ground.services[probe.service], client, probe.door, probe.protocol)


def _with_host_port(ground: Ground) -> Place:
    name = next(name for name, backend in PLAN["backends"].items() if "host_port" in backend)
    return ground.places[name]


def settled(ground: Ground, services: Iterable[str]) -> str:
    """Waits until every answer is one of those expected, then until everybody expected has answered. "": so it is."""
    wanted = {probe: expected(ground, probe) for service in services for probe in probes(ground, service)}
    end = time.monotonic() + WITHIN
    while wrong := _wrong(wanted, found := _round(ground, list(wanted))):
        if time.monotonic() > end:
            return "\n".join(wrong)
    seen = {probe: set(answers) for probe, answers in found.items()}
    for _ in range(ROUNDS):
        missing = [
            probe for probe in wanted if len(_names(seen[probe])) < len(wanted[probe].peers) and wanted[probe].everybody
        ]
        for probe, answers in _round(ground, missing).items():
            seen[probe] |= set(answers)
    return "\n".join(_wrong(wanted, {probe: list(answers) for probe, answers in seen.items()}, at_last=True))


def _round(ground: Ground, wanted: list[Probe]) -> dict[Probe, list[str]]:
    by_client: dict[str, list[Probe]] = {}
    for probe in wanted:
        by_client.setdefault(probe.client, []).extend([probe] * TIMES)
    asked = {
        client: [(probe.protocol, probe.address, probe.port) for probe in probes]
        for client, probes in by_client.items()
    }
    found: dict[Probe, list[str]] = {}
    for client, answers in ground.probed(asked).items():
        for probe, answer in zip(by_client[client], answers, strict=True):
            found.setdefault(probe, []).append(answer)
    return found


def _wrong(wanted: dict[Probe, Expected], found: dict[Probe, list[str]], *, at_last: bool = False) -> list[str]:
    """A sentence for each probe that went wrong. at_last: everybody expected must have answered by now."""
    said = []
    for probe, answers in found.items():
        want = wanted[probe]
        bad = sorted({answer for answer in answers if not _allowed(want, answer, probe.protocol)})
        names = _names(answers)
        if want.same and len(names) > 1:
            bad.append(f"several backends: {sorted(names)}")
        if at_last and want.everybody and names != set(want.peers):
            bad.append(f"only {sorted(names)}")
        if bad:
            said.append(f"{probe}: expected {_sentence(want)}, got {', '.join(bad)}")
    return said


def _allowed(want: Expected, answer: str, protocol: str) -> bool:
    name, _, peer = answer.partition(" ")
    if peer:
        return peer in want.peers.get(name, ())
    if want.silence == "refused" and protocol != "SCTP":  # which a raw socket does not hear of
        return answer == "refused"
    return (want.silence != "" or want.optional) and answer in NO_ANSWER


def _names(answers: Iterable[str]) -> set[str]:
    return {name for name, _, peer in (answer.partition(" ") for answer in answers) if peer}


def _sentence(want: Expected) -> str:
    return want.silence or "; ".join(f"{name} by {' or '.join(sorted(peers))}" for name, peers in want.peers.items())
