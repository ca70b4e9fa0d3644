"""Random flows that are worth asking about, in one cluster under some policies. Part of `generate`.

Most flows are covered by nothing or by a default, and say little about a compiler. So half of them are aimed: at a rule
of one policy that covers them. The others go anywhere. Beside each there are flows to the ports next to its own, for
ports are taken from the ends of ranges, addresses from both sides of the ends of CIDRs, and names from what pods call
their ports.
"""

import dataclasses
import itertools
import typing

from tests.policy import vocabulary as words
from tests.policy.picking import Pick
from tests.policy.reference import cilium, icmp, kubernetes, parties
from tests.policy.reference.cluster import Cluster, Pod
from tests.policy.reference.flows import ICMPS, Flow, Manifest, Settings
from tests.policy.reference.statements import Direction, Question

Traffic = tuple[str, int]  # protocol, port
TRIES = 60  # pairs of ends that are tried to hit a rule


@dataclasses.dataclass(frozen=True)
class Targets:
    """What there is to aim at."""

    cluster: Cluster
    settings: Settings
    policies: list[Manifest]
    inside: list[str]  # pods and nodes
    outside: list[str]

    @classmethod
    def of(cls, objects: list[Manifest], policies: list[Manifest], settings: Settings) -> "Targets":
        cluster = Cluster.read(objects, settings)
        said = set(_scalars([*policies, *(each for each in objects if each["kind"] == "CiliumCIDRGroup")]))
        edges = [edge for cidr in words.CIDRS if cidr in said for edge in words.edges_of(cidr)]
        behind = [str(each.address) for each in cluster.endpoints if cluster.node_of(each.address) is None]
        unmanaged = [words.unmanaged_address(words.NODES.index(name)) for name in cluster.nodes]
        return cls(
            cluster=cluster,
            settings=settings,
            policies=policies,
            inside=[*cluster.pods, *(f"node:{name}" for name in cluster.nodes)],
            outside=[words.WORLD[0], *dict.fromkeys([*behind, *unmanaged, *edges]), "reserved:health"],
        )

    def home(self, party: str) -> str:
        return parties.home(parties.find(self.cluster, party))


def flows(pick: Pick, objects: list[Manifest], policies: list[Manifest], settings: Settings, most: int) -> list[Flow]:
    found = pick.several(_near_each_other, Targets.of(objects, policies, settings), most=most)
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


def _near_each_other(pick: Pick, targets: Targets) -> list[Flow]:
    flow = _aimed(pick, targets) if pick.one((False, True)) else _anywhere(pick, targets)
    if flow.protocol in ICMPS:
        return [flow, dataclasses.replace(flow, port=flow.port ^ 1)]
    ports = [port for port in (flow.port, flow.port + 1, flow.port - 1) if 1 <= port <= 65535]
    return [dataclasses.replace(flow, port=port) for port in ports] + [dataclasses.replace(flow, protocol="UDP")]


def _anywhere(pick: Pick, targets: Targets) -> Flow:
    one = pick.one(targets.inside)
    others = _others(targets, one, outside=pick.one((False, False, True)))
    protocol, port = pick.one(_traffic(targets, targets.policies))
    return _flow(pick, one, pick.one(others), protocol, port)


def _aimed(pick: Pick, targets: Targets) -> Flow:
    """A flow that some rule of one policy covers, of the first that are tried; else the last of them."""
    policy = pick.one(targets.policies)
    outside = pick.one((False, True))
    pairs = [(one, other) for one in targets.inside for other in _others(targets, one, outside=outside)]
    first = pick.one(range(len(pairs)))
    traffic = pick.some(_traffic(targets, [policy]), least=1, most=4)
    flow = Flow(*pairs[first], *traffic[0])
    for one, other in (pairs[first:] + pairs[:first])[:TRIES]:
        for source, destination in ((one, other), (other, one)):
            for protocol, port in traffic:
                flow = Flow(source, destination, protocol, port)
                if _is_covered(targets, policy, flow):
                    return flow
    return flow


def _is_covered(targets: Targets, policy: Manifest, flow: Flow) -> bool:
    ends = [parties.find(targets.cluster, party) for party in (flow.source, flow.destination)]
    sides: tuple[tuple[Direction, int], ...] = (("egress", 0), ("ingress", 1))
    for direction, subject in sides:
        seen = parties.see(targets.cluster, targets.settings, ends[subject], ends[1 - subject])
        question = Question(targets.cluster, targets.settings, direction, ends[subject], seen, flow)
        answers = cilium.answers if policy["kind"] in cilium.KINDS else kubernetes.answers
        if any(answer.statements for answer in answers(policy, question)):
            return True
    return False


def _others(targets: Targets, one: str, *, outside: bool) -> list[str]:
    """An unmanaged address is on another node than the pod or the node that it talks with."""
    own = words.unmanaged_address(words.NODES.index(targets.home(one)))
    return [party for party in (targets.outside if outside else targets.inside) if party not in (one, own)]


def _flow(pick: Pick, one: str, other: str, protocol: str, port: int) -> Flow:
    source, destination = (one, other) if pick.one((False, True)) else (other, one)
    node = next((party.removeprefix("node:") for party in (source, destination) if party.startswith("node:")), None)
    router = words.router_address(words.NODES.index(node)) if node and pick.chance(3) else ""
    return Flow(source, destination, protocol, port, node_address=router)


def _traffic(targets: Targets, policies: list[Manifest]) -> list[Traffic]:
    """What the policies speak of by number, what pods call their ports, and what the cluster is run by."""
    said = set(_scalars(policies))
    numbers = sorted({int(each) for each in said if each.isdigit() and 1 <= int(each) <= 65535} | {80})
    pods: list[Pod] = [*targets.cluster.pods.values()]
    named = [(port.protocol, port.port) for pod in pods for port in pod.named_ports if port.name in said]
    protocols = ["TCP", *sorted(said & {"UDP", "SCTP"})]
    types = [("ICMP", icmp.number("IPv4", each)) for each in words.ICMP_TYPES["IPv4"] if str(each) in said]
    by_number = [(protocol, number) for number in numbers for protocol in protocols]
    return [*dict.fromkeys([*by_number, *named, *types, ("ICMP", 8), *words.MANAGEMENT])]


def _scalars(value: typing.Any) -> typing.Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _scalars(each)
    else:
        yield str(value)
