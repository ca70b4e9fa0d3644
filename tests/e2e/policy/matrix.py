"""Every pair of places, protocol and port: what the reference expects, what the wire does, and how they differ."""

import dataclasses
import itertools
import time
from collections.abc import Iterable

from tests.e2e.policy.api import Manifest
from tests.e2e.policy.ground import NODES, PLAN, PORTS, WORLD, Ground
from tests.policy.reference import evaluate
from tests.policy.reference.flows import Flow, Verdict

Matrix = dict[Flow, bool]  # probe -> whether it gets through
ECHO = 8  # the ICMP type of a ping
CONVERGED, STAYS, PAUSE = 15.0, 0.3, 0.05  # seconds: until it must be right, how long it must stay, between probes


def flows() -> list[Flow]:
    """All probes: pods among each other, to and from nodes, to the world; nodes and the world among each other."""
    pods, nodes = list(PLAN["pods"]), [f"node:{name}" for name in NODES]
    among = [(one, other, ("TCP", "UDP", "SCTP")) for one, other in itertools.permutations(pods, 2)]
    beyond = [
        *itertools.product(pods, [*nodes, WORLD]),
        *itertools.product(nodes, [*pods, WORLD]),
        *itertools.permutations(nodes, 2),
        *((WORLD, node) for node in nodes),
    ]
    pairs = [*among, *((one, other, ("TCP", "UDP")) for one, other in beyond)]
    return [flow for one, other, protocols in pairs for flow in _between(one, other, protocols)]


def _between(source: str, destination: str, protocols: Iterable[str]) -> Iterable[Flow]:
    for protocol, port in itertools.product(protocols, PORTS):
        yield Flow(source, destination, protocol, port)
    yield Flow(source, destination, "ICMP", ECHO)


def teach(ground: Ground) -> None:
    """Each prober its part of the probes, once."""
    for place, prober in ground.probers.items():
        prober.learn([flow for flow in flows() if flow.source == place], ground.addresses)


def expected(ground: Ground, policies: list[Manifest]) -> Matrix:
    """What the reference says of the cluster as the API server has it now.

    Of the pods the evaluator reads, at every flow anew, only the two ends: no other has a say in the verdict."""
    objects = ground.objects()
    rest = [each for each in objects if each["kind"] != "Pod"]
    pods = {_place(each): each for each in objects if each["kind"] == "Pod"}

    def verdict(flow: Flow) -> Verdict:
        ends = [pods[end] for end in (flow.source, flow.destination) if end in pods]
        return evaluate.evaluate([*rest, *ends], policies, flow)

    def allowed(flow: Flow) -> bool:
        arrives = dataclasses.replace(flow, source=ground.seen_as(flow.source, flow.destination))
        if arrives.source == flow.source:
            return verdict(flow).allowed
        return verdict(flow).egress.allowed and verdict(arrives).ingress.allowed

    return {flow: allowed(flow) for flow in flows()}


def _place(pod: Manifest) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def probed(ground: Ground) -> Matrix:
    """All at once, as soon as everybody has waited a quarter second."""
    for prober in ground.probers.values():
        prober.go()
    return {flow: reached for prober in ground.probers.values() for flow, reached in prober.answers().items()}


def settled(ground: Ground, wanted: Matrix) -> str:
    """Waits until the wire does what is wanted, and sees that it stays so. Returns the differences; "" = none.

    What must not pass and does, once it was right, is a failure at once; what must pass is asked again before, as a
    busy machine may answer late."""
    end = time.monotonic() + CONVERGED
    found = probed(ground)
    while found != wanted and time.monotonic() < end:
        time.sleep(PAUSE)
        found = probed(ground)
    if found != wanted:
        return differences(wanted, found)
    time.sleep(STAYS)
    found = probed(ground)
    if any(reached and not wanted[flow] for flow, reached in found.items()):
        return "it was right, and did not stay so:\n" + differences(wanted, found)
    if found != wanted:
        late = probed(ground)
        found = {flow: reached or late[flow] for flow, reached in found.items()}
    return "" if found == wanted else "it was right, and did not stay so:\n" + differences(wanted, found)


def differences(wanted: Matrix, found: Matrix) -> str:
    """One line per pair: "red/a → green/b  expected allowed, got denied: TCP 7001, SCTP 7002"."""
    lines: dict[tuple[str, str, bool], list[str]] = {}  # (source, destination, expected) -> what was probed
    for flow, allowed in wanted.items():
        if found[flow] != allowed:
            what = "ping" if flow.protocol == "ICMP" else f"{flow.protocol} {flow.port}"
            lines.setdefault((flow.source, flow.destination, allowed), []).append(what)
    words = {True: "expected allowed, got denied", False: "expected denied, got allowed"}
    return "\n".join(
        f"{source} → {destination}  {words[allowed]}: {', '.join(what)}"
        for (source, destination, allowed), what in lines.items()
    )
