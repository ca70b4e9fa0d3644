"""The operator's own watches, of a real API server."""

import asyncio

import kopf

from seta_crds import names
from seta_operator.store.api import Api
from seta_operator.store.cluster import Cluster
from seta_operator.store.reflector import Reflector
from tests.api.client import Client
from tests.api.controlplane import ADMIN, ControlPlane
from tests.unit.operator.fakes import Sight

NAMESPACE = "kube-node-lease"  # nobody renews anything there
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
SILENCE = 2.0  # seconds


def test_a_kind_without_events_is_listed_once_and_still_watched(plane: ControlPlane, api: Client):
    sight = asyncio.run(_watched(plane, api))
    api.request("DELETE", f"{LEASES}/quiet")
    assert sight.told == ["found"]


async def _watched(plane: ControlPlane, api: Client) -> Sight:
    """Three silences long; then something happens."""
    sight, cluster, seen = Sight(), Cluster(), asyncio.Event()
    cluster.listen(names.LEASE, lambda *_: seen.set())
    info = kopf.ConnectionInfo(server=f"https://127.0.0.1:{plane.port}", ca_path=str(plane.authority), token=ADMIN)
    async with Api(lambda: info) as own:
        watch = asyncio.create_task(
            Reflector(own, cluster, (names.LEASE, NAMESPACE), sight, silence=SILENCE).run(), name="watch"
        )
        await asyncio.sleep(3 * SILENCE)
        await asyncio.to_thread(api.request, "POST", LEASES, {"metadata": {"name": "quiet"}})
        await asyncio.wait_for(seen.wait(), 5)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    return sight
