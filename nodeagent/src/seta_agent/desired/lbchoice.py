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
    """Backends in the order of their slots."""

    usable: Sequence[Backend]  # for new connections
    further: Sequence[Backend]  # listed for people: they end, or are not to be used


def anywhere(backends: Sequence[Backend], view: NodeView) -> Choice:
    """Traffic policy Cluster."""
    ready = [backend for backend in backends if backend.state == "active"]
    if len(ready) == len(backends):
        return Choice(_hinted(ready, view) if view.topology else ready, ())
    if ready:
        return Choice(
            _hinted(ready, view) if view.topology else ready, [one for one in backends if one.state != "active"]
        )
    return Choice(
        [one for one in backends if one.state == "terminating"],
        [one for one in backends if one.state != "terminating"],
    )


def here(backends: Sequence[Backend], view: NodeView) -> Choice:
    """Traffic policy Local: those on this node; hints are about other nodes."""
    own = [backend for backend in backends if backend.node == view.name]
    for state in ("active", "terminating"):
        usable = [backend for backend in own if backend.state == state]
        if usable:
            return Choice(usable, [backend for backend in own if backend.state != state])
    return Choice((), own)


def _hinted(ready: Sequence[Backend], view: NodeView) -> Sequence[Backend]:
    """Those meant for this node, else for its zone, else all."""
    if ready and all(backend.nodes for backend in ready):
        meant = [backend for backend in ready if view.name in backend.nodes]
        if meant:
            return meant
    if ready and view.zone and all(backend.zones for backend in ready):
        meant = [backend for backend in ready if view.zone in backend.zones]
        if meant:
            return meant
    return ready
