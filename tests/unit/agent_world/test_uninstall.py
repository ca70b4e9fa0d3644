"""An agent that ends: is it being uninstalled?"""

import asyncio

import pytest

from seta_agent.cni import uninstall
from seta_agent.kube import KubeClient
from seta_agent.kube_access import Access

DAEMONSET = "/apis/apps/v1/namespaces/kube-system/daemonsets/seta"
PODS = "/api/v1/pods"
TERMINATING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.fixture
async def client(api):
    made = KubeClient(Access(api.url, None))
    yield made
    await made.close()


@pytest.fixture
async def own_pod(api, client, tmp_path, monkeypatch):
    """Watched; it runs."""
    monkeypatch.setattr(uninstall, "LAG_SECONDS", 0.2)
    api.put(f"{PODS}/seta-x", {})
    made = uninstall.OwnPod(client, "seta-x", tmp_path / "no-account")
    watching = asyncio.create_task(made.run())
    for _ in range(500):
        if api._watchers:
            break
        await asyncio.sleep(0.01)
    yield made
    watching.cancel()


async def asked(client, own_pod, tmp_path) -> bool:
    return await uninstall.is_uninstalled(client, own_pod, tmp_path / "no-account")


async def refused(api, client, own_pod, tmp_path, status) -> bool:
    """What an answer means that says nothing of the DaemonSet."""
    api.status = status
    return await asked(client, own_pod, tmp_path)


async def test_a_running_daemonset_means_an_upgrade(api, client, own_pod, tmp_path):
    api.put(DAEMONSET, {})
    api.put(f"{PODS}/seta-x", {"metadata": TERMINATING})
    assert not await asked(client, own_pod, tmp_path)


async def test_a_daemonset_that_is_being_deleted_means_uninstalled(api, client, own_pod, tmp_path):
    api.put(DAEMONSET, {"metadata": TERMINATING})
    assert await asked(client, own_pod, tmp_path)


async def test_a_daemonset_that_is_gone_means_uninstalled(client, own_pod, tmp_path):
    assert await asked(client, own_pod, tmp_path)


async def test_without_rights_a_pod_that_is_terminating_means_uninstalled(api, client, own_pod, tmp_path):
    api.put(f"{PODS}/seta-x", {"metadata": TERMINATING})
    found = [await refused(api, client, own_pod, tmp_path, status) for status in (401, 403, 500)]
    assert found == [True, True, False]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_pod_deleted_by_force_is_gone_at_once_and_means_nothing(api, client, own_pod, tmp_path, status):
    api.remove(f"{PODS}/seta-x")
    api.status = status
    assert not await asked(client, own_pod, tmp_path)


async def test_a_pod_that_goes_by_force_after_all_means_nothing(api, client, own_pod, tmp_path):
    api.put(f"{PODS}/seta-x", {"metadata": TERMINATING})
    api.remove(f"{PODS}/seta-x")
    await asyncio.sleep(0.1)
    api.status = 401
    assert not await asked(client, own_pod, tmp_path)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_pod_that_runs_on_means_nothing(api, client, own_pod, tmp_path, status):
    api.status = status
    assert not await asked(client, own_pod, tmp_path)


async def test_without_an_api_server_nothing_is_taken_away(tmp_path):
    client = KubeClient(Access("http://127.0.0.1:1", None))
    assert not await asked(client, uninstall.OwnPod(client, ""), tmp_path)
    await client.close()
