"""The agent's listings, asked of a real API server."""

import asyncio
import ssl

import pytest

from seta_agent import kube
from seta_agent.kube import KubeClient
from seta_agent.kube_access import Access
from tests.api.client import Client
from tests.api.controlplane import ADMIN, ControlPlane

COUNT = 8
PATH = "/api/v1/namespaces/team-a/configmaps"  # which no operator touches


@pytest.mark.parametrize("options", [{}, {"cached": True}])
def test_every_page_of_a_listing_is_of_one_version(
    plane: ControlPlane, api: Client, monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]
):
    """What is made between two pages is told by the watch that starts where the listing ended."""
    monkeypatch.setattr(kube, "PAGE", 3)
    for number in range(COUNT):
        _make(api, f"listed-{number}")
    try:
        pages, event = asyncio.run(_listed(plane, api, **options))
    finally:
        for name in ("between", *(f"listed-{number}" for number in range(COUNT))):
            api.request("DELETE", f"{PATH}/{name}")
    assert [len(page["items"]) for page in pages] == [3, 3, 2]
    assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "between")


async def _listed(plane: ControlPlane, api: Client, **options: bool) -> tuple[list[kube.Object], kube.Object]:
    """The pages, and the first event of the watch after them."""
    tls = ssl.create_default_context(cafile=str(plane.authority))
    client = KubeClient(Access(f"https://127.0.0.1:{plane.port}", tls, fixed_token=ADMIN))
    pages: list[kube.Object] = []
    try:
        async for page in client.pages(PATH, **options):
            if not pages:
                await asyncio.to_thread(_make, api, "between")
            pages.append(page)
        events = client.watch(PATH, pages[-1]["metadata"]["resourceVersion"])
        assert (await anext(events))["type"] == kube.CONNECTED
        event = await anext(events)
        await events.aclose()
    finally:
        await client.close()
    return pages, event


def _make(api: Client, name: str) -> None:
    api.request("POST", PATH, {"metadata": {"name": name}})
