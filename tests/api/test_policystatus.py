"""What a node enforces, written to a real API server by the agent's own writer."""

import asyncio
import ssl

from seta_agent.kube import KubeClient
from seta_agent.kube_access import Access
from seta_agent.policystatus import PolicyStatusWriter
from seta_agent.tables import Node, Tables
from tests.api.client import Client
from tests.api.controlplane import ADMIN, ControlPlane

NODE = "of-no-operator"
OBJECT = f"/apis/seta.dev/v1alpha1/nodepolicystatuses/{NODE}"
STEPS = ({"cnp.a.x": 1, "cnp.a.y": 2}, {"cnp.a.y": 2}, {}, {"cnp.a.x": 1}, {})


def test_the_last_policy_goes_and_another_comes(plane: ControlPlane, api: Client):
    shown = asyncio.run(_written(plane, api))
    api.request("DELETE", OBJECT)
    assert shown == list(STEPS)


async def _written(plane: ControlPlane, api: Client) -> list[dict[str, int]]:
    tls = ssl.create_default_context(cafile=str(plane.authority))
    client = KubeClient(Access(f"https://127.0.0.1:{plane.port}", tls, fixed_token=ADMIN))
    tables, steps, shown = Tables(), list(STEPS), []
    tables.nodes.set(NODE, Node(NODE, (), (), (), uid="11111111-2222-3333-4444-555555555555"))
    writer = PolicyStatusWriter(tables, client, NODE, lambda: steps[0])
    try:
        while steps:
            assert await writer.step()
            found = await asyncio.to_thread(api.request, "GET", OBJECT)
            shown.append((found.get("status") or {}).get("enforced") or {})
            steps.pop(0)
    finally:
        await client.close()
    return shown
