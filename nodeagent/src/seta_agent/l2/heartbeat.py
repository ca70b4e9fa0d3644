"""The lease by which this node says that it lives, and what it has put into effect. Called by `l2.holder`.

The operator gives this node's addresses to others when it has seen no renewal for a lease's duration. What is said with
a renewal (`state`) is what lets it give one address away at once.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

import orjson

from seta_agent.kube import KubeClient, Object
from seta_agent.tables import Node
from seta_crds import names

MANAGER = "seta-agent"


@dataclasses.dataclass(frozen=True)
class State:
    """What others learn from the heartbeat."""

    uid: str = ""  # of the NodeAnnouncements that are in effect; "": none since the agent's start
    released: int = 0  # its generation: what is not in that one is not answered for any more
    interfaces: Mapping[str, bool] = dataclasses.field(default_factory=dict)  # native device -> up
    able: bool = True  # false: it lives, and could not put its list into effect lately

    def encoded(self) -> str:
        return orjson.dumps(dataclasses.asdict(self), option=orjson.OPT_SORT_KEYS).decode()


async def renew(client: KubeClient, node: Node, namespace: str, state: State, *, seconds: float) -> None:
    """One request. `seconds`: how long others wait for the next. Raises KubeError."""
    path = names.LEASE.path(namespace, names.node_lease_name(node.name))
    await client.apply(path, lease(node, namespace, state, seconds=seconds, now=dt.datetime.now(dt.UTC)), MANAGER)


def lease(node: Node, namespace: str, state: State, *, seconds: float, now: dt.datetime) -> Object:
    """The object for a server-side apply; it goes with its CiliumNode. Pure."""
    owner: dict[str, Any] = {"apiVersion": names.CILIUM_NODE.api_version, "kind": names.CILIUM_NODE.kind}
    return {
        "apiVersion": names.LEASE.api_version,
        "kind": names.LEASE.kind,
        "metadata": {
            "name": names.node_lease_name(node.name),
            "namespace": namespace,
            "annotations": {names.L2_STATE_ANNOTATION: state.encoded()},
            "ownerReferences": [{**owner, "name": node.name, "uid": node.uid}],
        },
        "spec": {
            "holderIdentity": node.name,
            "leaseDurationSeconds": max(1, round(seconds)),
            "renewTime": now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }
