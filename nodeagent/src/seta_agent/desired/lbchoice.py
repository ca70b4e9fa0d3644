"""Which of a service's backends new connections of this node may go to. Pure.

The rules are kube-proxy's: hints count only where every backend that is ready has some, and only where one of them is
meant for this node or its zone; terminating backends serve when none that is ready is left, and then hints count for
nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from seta_agent.desired.lbnode import NodeView
from seta_agent.tables import Backend


class Choice(NamedTuple):
    """Backends in the order of their slots; lists, so that two of them compare."""

    usable: list[Backend]  # for new connections
    further: list[Backend]  # listed for people: they end, or are not to be used


def anywhere(backends: Sequence[Backend], view: NodeView) -> Choice:
    """Traffic policy Cluster."""
    ready = [backend for backend in backends if backend.state == "active"]
    if ready:
        further = [backend for backend in backends if backend.state != "active"] if len(ready) < len(backends) else []
        return Choice(_hinted(ready, view) if view.topology else ready, further)
    return Choice(
        [backend for backend in backends if backend.state == "terminating"],
        [backend for backend in backends if backend.state != "terminating"],
    )


def here(backends: Sequence[Backend], view: NodeView) -> Choice:
    """Traffic policy Local: those on this node; hints are about other nodes."""
    own = [backend for backend in backends if backend.node == view.name]
    for state in ("active", "terminating"):
        usable = [backend for backend in own if backend.state == state]
        if usable:
            return Choice(usable, [backend for backend in own if backend.state != state])
    return Choice([], own)


def _hinted(ready: list[Backend], view: NodeView) -> list[Backend]:
    """Those meant for this node, else for its zone, else all."""
    if all(backend.nodes for backend in ready):
        meant = [backend for backend in ready if view.name in backend.nodes]
        if meant:
            return meant
    if view.zone and all(backend.zones for backend in ready):
        meant = [backend for backend in ready if view.zone in backend.zones]
        if meant:
            return meant
    return ready
