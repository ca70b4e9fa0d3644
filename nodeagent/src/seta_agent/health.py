"""http://127.0.0.1:9879/healthz for the kubelet's probes: 200 when the datapath is programmed, else 503 and why.

Started by the agent before anything else, so that a probe gets a sentence and not a refused connection.
"""

from collections.abc import Callable

from seta_agent.probes.server import Answer, ProbeServer

ADDRESS, PORT = "127.0.0.1", 9879


def answer(path: str, sentence: str) -> Answer:
    """`sentence` is empty when all is well; pure."""
    if path != "/healthz":
        return Answer(404, "only /healthz is here\n")
    return Answer(503, f"{sentence}\n") if sentence else Answer(200, "ok\n")


def server(state: Callable[[], str], port: int = PORT) -> ProbeServer:
    """`state` returns an empty string when all is well, else a sentence."""
    return ProbeServer(lambda path: answer(path, state()), port, ADDRESS)
