"""Endpoints in, CiliumEndpoints on the API server out."""

import asyncio

import pytest

from seta_agent import cep
from seta_agent.cni.commands import new_endpoint
from seta_agent.kube import KubeClient
from seta_agent.kube_access import Access
from tests.unit.agent_world.world import NODE, added, identity, xwing

PATH = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints"


@pytest.fixture
async def writer(world, api):
    client = KubeClient(Access(api.url, None))
    yield cep.EndpointWriter(world.tables, client, NODE, lambda _: (True, False))
    await client.close()


def add(world, name: str = "xwing") -> int:
    with world.store.reserve() as place:
        pod = xwing(name=name)
        bare = new_endpoint(place, added(f"c-{name}"), (f"lxc{name}", 7, "m1", "m2"), pod, 4005)
        world.store.put(world.store.identified(bare, identity(), pod))
        return place.id


async def test_each_endpoint_has_its_object(world, api, writer):
    add(world)
    assert await writer.step()
    written = api.objects[f"{PATH}/xwing"]
    assert written["status"]["networking"] == {"addressing": [{"ipv4": "10.0.1.2"}], "node": "192.168.10.101"}
    assert written["status"]["identity"]["id"] == 300
    assert written["status"]["policy"]["ingress"] == {"enforcing": True, "state": "enforcing"}
    assert written["metadata"]["ownerReferences"][0] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "xwing",
        "uid": "u1",
    }


async def test_what_is_as_it_should_be_is_not_written_again(world, api, writer):
    add(world)
    await writer.step()
    requests = len(api.requests)
    await writer.step()
    assert len(api.requests) == requests


async def test_a_removed_endpoint_takes_its_object_with_it(world, api, writer):
    number = add(world)
    await writer.step()
    world.tables.endpoints.delete(number)
    assert await writer.step()
    assert api.objects == {}


async def test_at_start_stale_objects_of_this_node_go_and_others_stay(world, api, writer):
    add(world)
    for name, node in (("stale", NODE), ("elsewhere", "k8s-w2")):
        api.put(f"{PATH}/{name}", {"metadata": {"labels": {cep.NODE_LABEL: node}}})
    await writer._list()
    await writer.step()
    assert sorted(api.objects) == [f"{PATH}/elsewhere", f"{PATH}/xwing"]


async def test_an_object_that_moved_to_another_node_is_left_alone(world, api, writer):
    number = add(world)
    await writer.step()
    api.put(f"{PATH}/xwing", {"metadata": {"labels": {cep.NODE_LABEL: "k8s-w2"}}})
    world.tables.endpoints.delete(number)
    assert await writer.step()
    assert f"{PATH}/xwing" in api.objects


async def test_an_object_that_somebody_changed_is_deleted_all_the_same(world, api, writer):
    number = add(world)
    await writer.step()
    api.put(f"{PATH}/xwing", {"metadata": {"labels": {cep.NODE_LABEL: NODE, "curious": "yes"}}})
    world.tables.endpoints.delete(number)
    assert not await writer.step()  # it looked again
    assert await writer.step()
    assert api.objects == {}


async def test_nothing_is_deleted_while_the_node_is_not_known(world, api, writer):
    add(world)
    await writer.step()
    world.tables.nodes.delete(NODE)
    assert not await writer.step()
    assert f"{PATH}/xwing" in api.objects


async def test_a_failing_write_is_tried_again(world, api, writer):
    add(world)
    api.status = 500
    assert not await writer.step()
    api.status = 0
    assert await writer.step()


def test_a_long_node_name_still_fits_a_label():
    assert cep.node_label("k8s-w1") == "k8s-w1"
    assert len(cep.node_label("n" * 64)) == 32


async def test_enforcement_is_written_when_the_programmer_has_applied_it(world, api, monkeypatch):
    monkeypatch.setattr(cep, "SETTLE_SECONDS", 0.02)
    client, enforced = KubeClient(Access(api.url, None)), [(False, False)]
    task = asyncio.create_task(cep.EndpointWriter(world.tables, client, NODE, lambda _: enforced[0]).run())
    add(world)
    written = await eventually(lambda: api.objects.get(f"{PATH}/xwing"))
    assert written["status"]["policy"]["ingress"]["enforcing"] is False
    world.tables.policies.set("cnp.default.x", None)
    enforced[0] = (True, False)
    await eventually(lambda: api.objects[f"{PATH}/xwing"]["status"]["policy"]["ingress"]["enforcing"])
    task.cancel()
    await asyncio.wait({task})
    await client.close()


async def eventually(fact):
    async with asyncio.timeout(10):
        while not (answer := fact()):  # noqa: ASYNC110 - the API server of dicts tells nobody
            await asyncio.sleep(0.005)
    return answer
