"""Connections that lose their allow: cut within a second, in both directions, whichever end's policy says so."""

import time
from collections.abc import Iterator

import pytest

from tests.e2e.policy.api import Manifest
from tests.e2e.policy.ground import PORTS, Ground, Labels
from tests.e2e.steps import eventually
from tests.policy import catalogue

WITHIN = 1.0  # seconds from the API server's answer
AFTER = 0.4  # seconds for which it must stay quiet then
FRESH = 0.2  # seconds: heard a moment ago; the ends speak a hundred times a second
ENDS = {"on one node": ("red/b", "red/a"), "across nodes": ("red/c", "red/a")}  # client, server
Change = tuple[list[Manifest], dict[str, Labels]]


def allow(labels: dict[str, str]) -> Manifest:
    """Who may come to the server."""
    peers = [{"matchLabels": labels}]
    spec = {"endpointSelector": {"matchLabels": {"app": "a"}}, "ingress": [{"fromEndpoints": peers}]}
    return catalogue.policy("cnp red/allow", spec)


SERVERS = {"matchLabels": {"role": "server"}}  # the clients are servers of the matrix, the server is its client
ALLOWED = [allow({"role": "server"})]
CHANGES: dict[str, Change] = {
    "the allow names another one": ([allow({"app": "nobody"})], {}),
    "the client loses its label": (ALLOWED, {"pod red/b": {"role": None}, "pod red/c": {"role": None}}),
    "a NetworkPolicy takes the place of the allow": (
        [catalogue.policy("knp red/closed", {"podSelector": {"matchLabels": {"app": "a"}}})],
        {},
    ),
    "the server's end denies": (
        [
            *ALLOWED,
            catalogue.policy("ccnp deny", {"endpointSelector": {}, "ingressDeny": [{"fromEndpoints": [SERVERS]}]}),
        ],
        {},
    ),
    "the client's end denies": (
        [
            *ALLOWED,
            catalogue.policy(
                "cnp red/deny",
                {"endpointSelector": SERVERS, "egressDeny": [{"toEndpoints": [{"matchLabels": {"app": "a"}}]}]},
            ),
        ],
        {},
    ),
}


@pytest.fixture(params=ENDS)
def ends(ground: Ground, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A connection and a flow of datagrams, and both ends heard on both."""
    client, server = ENDS[request.param]
    ground.become(ALLOWED, {})
    eventually(lambda: ground.reaches(client, server), "the client is let in")
    ground.probers[client].live(ground.addresses[server], PORTS[0])
    eventually(lambda: time.time() - min(heard(ground, client, server).values()) < FRESH, "both ends are heard")
    yield client, server
    for place in (client, server):
        ground.probers[place].hush()


def heard(ground: Ground, client: str, server: str) -> dict[str, float]:
    """Who heard the other when, and on what."""
    return {
        f"{place} hears {protocol}": when
        for place in (client, server)
        for protocol, when in ground.probers[place].heard().items()
    }


@pytest.mark.parametrize("change", CHANGES)
def test_a_live_connection_that_loses_its_allow_is_cut(ground: Ground, ends: tuple[str, str], change: str):
    changed = ground.become(*CHANGES[change])
    time.sleep(WITHIN + AFTER)
    last = {who: when - changed for who, when in heard(ground, *ends).items()}  # seconds after the API server's answer
    assert max(last.values()) < WITHIN, last
