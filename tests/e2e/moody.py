"""A backend turns not ready, as one that is overloaded or warns of its end: whom it serves it serves on, nobody new.

Seen from outside, through node ports. Used by the tests, with Seta and with kube-proxy.
"""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from tests.e2e.steps import Bench, eventually, finished, pod, service

LABELS = {"tier": "moody"}
DOORS = {"where the backend is": "192.168.10.101", "on another node": "192.168.10.10"}
AWAY = "/away"  # a file: while it is there, the pod is not ready
TALK = """
import signal, socket, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as peer:
    print("open", flush=True)
    while not signal.sigtimedwait({signal.SIGINT}, 0.1):
        peer.sendall(b"?")
        assert peer.recv(1) == b"?", "the connection has ended"
"""


def moody(name: str, node: str) -> dict[str, Any]:
    """Ready until told otherwise, and never disturbed in what it serves."""
    one = pod(name, node, labels=LABELS)
    probe = {"exec": {"command": ["test", "!", "-e", AWAY]}, "periodSeconds": 1, "failureThreshold": 1}
    one["spec"]["containers"][0]["readinessProbe"] = probe
    return one


FIRST, SECOND = moody("moody-1", "k8s-w1"), moody("moody-2", "k8s-w2")
FRONT = service("moody", LABELS)
FRONT["spec"]["type"] = "NodePort"


@contextlib.contextmanager
def node_port(bench: Bench) -> Iterator[str]:
    """With FIRST behind it."""
    try:
        bench.apply(FRONT)
        bench.start(FIRST)
        bench.serve("moody-1")
        yield str(bench.get("service", "moody")["spec"]["ports"][0]["nodePort"])
    finally:
        bench.delete(FRONT, FIRST, SECOND)


def connects(bench: Bench, address: str, port: str) -> bool:
    return not bench.cluster.try_exec("world", "nc", "-z", "-w", "1", address, port).returncode


def turn_while_talking(bench: Bench, port: str) -> None:
    """FIRST turns not ready, then SECOND comes; fails where an open connection ends, or a new one gets to FIRST."""
    for address in DOORS.values():
        eventually(lambda it=address: connects(bench, it, port), f"{address} answers")
    talk = ("python3", "-c", TALK)
    talks = [bench.cluster.popen_exec("world", *talk, address, port) for address in DOORS.values()]
    assert [one.stdout.readline() for one in talks] == ["open\n"] * len(DOORS)
    bench.kubectl("exec", "moody-1", "--", "touch", AWAY)
    for way, address in DOORS.items():
        eventually(lambda it=address: not connects(bench, it, port), f"{way} new connections are refused")
    bench.start(SECOND)
    bench.serve("moody-2")
    for way, address in DOORS.items():
        eventually(lambda it=address: connects(bench, it, port), f"{way} new connections find the other backend")
    for one in talks:
        one.send_signal(signal.SIGINT)
        finished(one)
