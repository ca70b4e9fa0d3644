"""CNI commands in; table rows, state files and kernel calls out."""

import asyncio
import ipaddress
import json

import pytest

from seta_agent.cni import commands, request, statefiles
from seta_agent.cni.endpoints import EndpointStore
from seta_agent.cni.errors import CniError, Code
from seta_agent.cni.request import PodRef, Request
from seta_agent.tables import Tables
from tests.unit.agent_world.world import NODE, World, identity, node, xwing

NETNS = 5


def command(name: str, container: str = "c1", pod: PodRef | None = None, **config) -> Request:
    reference = pod or PodRef("default", "xwing", "u1")
    return Request(name, container, reference, "/var/run/netns/x", {"name": "seta", **config}, request.DEFAULT_VERSION)


def state_files(world: World) -> list[str]:
    return sorted(path.name for path in world.directory.glob("*"))


async def test_add_gives_an_address_an_identity_and_a_programmed_endpoint(world):
    answer = await world.commands.run(command("ADD"), NETNS)
    (endpoint,) = world.tables.endpoints
    assert (str(endpoint.ipv4), endpoint.identity, endpoint.pod_uid) == ("10.0.1.2", 300, "u1")
    assert answer["ips"][0]["address"] == "10.0.1.2/32"
    assert world.kernel.done == ["create_veth", "programmed 1"]
    assert state_files(world) == ["1.json"]
    assert (world.directory / "1.json").stat().st_mode & 0o777 == 0o600


async def test_add_remembers_the_pods_network_namespace(world):
    await world.commands.run(command("ADD"), NETNS)
    (kept,) = statefiles.load_endpoints(world.directory)
    assert (kept.netns, kept.netns_cookie) == ("/var/run/netns/x", 4000 + NETNS)


async def test_add_again_for_the_same_container_gives_the_same_answer(world):
    first = await world.commands.run(command("ADD"), NETNS)
    assert await world.commands.run(command("ADD"), NETNS) == first
    assert world.kernel.done.count("create_veth") == 1


async def test_add_for_a_container_whose_interface_is_gone_begins_anew(world):
    await world.commands.run(command("ADD"), NETNS)
    world.kernel.veths.clear()
    await world.commands.run(command("ADD"), NETNS)
    (endpoint,) = world.tables.endpoints
    assert endpoint.id == 2
    assert state_files(world) == ["2.json"]


async def test_two_pods_at_once_have_two_addresses(world):
    world.tables.pods.set(("default", "tie"), xwing(name="tie", uid="u2"))
    other = command("ADD", "c2", PodRef("default", "tie", "u2"))
    await asyncio.gather(world.commands.run(command("ADD"), NETNS), world.commands.run(other, NETNS))
    assert sorted(str(endpoint.ipv4) for endpoint in world.tables.endpoints) == ["10.0.1.2", "10.0.1.3"]


@pytest.mark.parametrize("step", ["create_veth", "programmed"])
async def test_a_failing_add_leaves_nothing(world, step):
    world.kernel.refuses[step] = CniError(Code.TRY_AGAIN, "not now")
    with pytest.raises(CniError, match="not now"):
        await world.commands.run(command("ADD"), NETNS)
    assert len(world.tables.endpoints) == 0
    assert not world.kernel.veths
    assert state_files(world) == []
    assert world.store.room() == 253


async def test_add_waits_for_the_pod_and_its_identity(world, monkeypatch):
    world.tables.pods.delete(("default", "xwing"))
    world.tables.identities.delete(300)
    adding = asyncio.create_task(world.commands.run(command("ADD"), NETNS))
    await asyncio.sleep(0)
    assert world.kernel.done == []
    world.tables.pods.set(("default", "xwing"), xwing())
    world.tables.identities.set(300, identity())
    assert (await adding)["ips"]


@pytest.mark.parametrize(
    ("take_away", "said"),
    [
        (lambda tables: tables.pods.delete(("default", "xwing")), "its pod is not known"),
        (lambda tables: tables.pods.set(("default", "xwing"), xwing(uid="another")), "its pod is not known"),
        (lambda tables: tables.namespaces.delete("default"), "has not given its labels an identity"),
        (lambda tables: tables.identities.delete(300), "has not given its labels an identity"),
        (lambda tables: tables.nodes.delete(NODE), "has no pod CIDR yet"),
    ],
)
async def test_add_without_what_it_needs_is_to_be_tried_again(world, monkeypatch, take_away, said):
    monkeypatch.setattr(commands, "IDENTITY_SECONDS", 0.01)
    take_away(world.tables)
    with pytest.raises(CniError, match=said) as caught:
        await world.commands.run(command("ADD"), NETNS)
    assert caught.value.code is Code.TRY_AGAIN


async def test_add_on_a_full_node_is_to_be_tried_again(world):
    world.tables.nodes.set(NODE, node("10.0.1.0/30"))
    world.tables.pods.set(("default", "tie"), xwing(name="tie", uid="u2"))
    await world.commands.run(command("ADD"), NETNS)
    with pytest.raises(CniError, match=r"every address of 10\.0\.1\.0/30 is in use"):
        await world.commands.run(command("ADD", "c2", PodRef("default", "tie", "u2")), NETNS)


async def test_add_without_a_namespace_is_refused(world):
    with pytest.raises(CniError, match="CNI_NETNS"):
        await world.commands.run(command("ADD"), None)


async def test_delete_takes_everything_back(world):
    await world.commands.run(command("ADD"), NETNS)
    assert await world.commands.run(command("DEL"), None) == {}
    assert world.kernel.done[-2:] == ["removed 1", "delete_veth"]
    assert (len(world.tables.endpoints), state_files(world), world.kernel.veths) == (0, [], {})


async def test_delete_succeeds_when_nothing_is_left(world):
    assert await world.commands.run(command("DEL", "never-seen"), None) == {}


async def test_a_failing_delete_can_be_tried_again(world):
    await world.commands.run(command("ADD"), NETNS)
    world.kernel.refuses["delete_veth"] = CniError(Code.TRY_AGAIN, "busy")
    with pytest.raises(CniError, match="busy"):
        await world.commands.run(command("DEL"), None)
    assert state_files(world) == ["1.json"]
    world.kernel.refuses.clear()
    await world.commands.run(command("DEL"), None)
    assert len(world.tables.endpoints) == 0


async def test_a_delete_waits_for_the_add_it_overtakes(world):
    world.tables.identities.delete(300)
    adding = asyncio.create_task(world.commands.run(command("ADD"), NETNS))
    await asyncio.sleep(0)
    deleting = asyncio.create_task(world.commands.run(command("DEL"), None))
    await asyncio.sleep(0)
    world.tables.identities.set(300, identity())
    await asyncio.gather(adding, deleting)
    assert len(world.tables.endpoints) == 0


async def test_gc_removes_containers_the_runtime_does_not_know(world):
    await world.commands.run(command("ADD"), NETNS)
    valid = {commands.VALID_ATTACHMENTS: [{"containerID": "c1", "ifname": "eth0"}]}
    await world.commands.run(command("GC", "", **valid), None)
    assert len(world.tables.endpoints) == 1
    await world.commands.run(command("GC", "", **{commands.VALID_ATTACHMENTS: []}), None)
    assert len(world.tables.endpoints) == 0


async def test_gc_without_its_list_removes_nothing(world):
    await world.commands.run(command("ADD"), NETNS)
    with pytest.raises(CniError) as caught:
        await world.commands.run(command("GC", ""), None)
    assert caught.value.code is Code.BAD_CONFIG
    assert len(world.tables.endpoints) == 1


async def test_check_of_an_unknown_container_says_so(world):
    with pytest.raises(CniError) as caught:
        await world.commands.run(command("CHECK"), NETNS)
    assert caught.value.code is Code.UNKNOWN_CONTAINER


async def test_check_looks_into_the_container(world, monkeypatch):
    await world.commands.run(command("ADD"), NETNS)
    (endpoint,) = world.tables.endpoints
    seen = {"address": endpoint.ipv4}

    async def look(netns_fd, ifname):
        return seen["address"]

    monkeypatch.setattr("seta_agent.cni.netns.interface_address", look)
    assert await world.commands.run(command("CHECK"), NETNS) == {}
    seen["address"] = None
    with pytest.raises(CniError, match=r"does not have 10\.0\.1\.2") as caught:
        await world.commands.run(command("CHECK"), NETNS)
    assert caught.value.code is Code.BROKEN_ATTACHMENT


async def test_check_notices_a_missing_interface(world):
    await world.commands.run(command("ADD"), NETNS)
    world.kernel.veths.clear()
    with pytest.raises(CniError, match="is missing"):
        await world.commands.run(command("CHECK"), NETNS)


async def test_status_is_good_when_an_add_would_work(world):
    assert await world.commands.run(command("STATUS", ""), None) == {}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda world: setattr(world.kernel, "synced", False), "not programmed yet"),
        (lambda world: world.tables.nodes.delete(NODE), "no pod CIDR"),
        (lambda world: world.tables.nodes.set(NODE, node("10.0.1.0/31")), "every pod address"),
    ],
)
async def test_status_says_why_an_add_would_not_work(world, spoil, said):
    spoil(world)
    with pytest.raises(CniError, match=said) as caught:
        await world.commands.run(command("STATUS", ""), None)
    assert caught.value.code is Code.NOT_AVAILABLE


async def test_a_restarted_agent_knows_its_endpoints(world):
    await world.commands.run(command("ADD"), NETNS)
    (before,) = world.tables.endpoints
    tables = Tables()
    assert EndpointStore(tables, world.directory, NODE).restore() == 1
    assert tables.endpoints.get(before.id) == before
    assert tables.endpoints.synced


async def test_an_older_agents_endpoint_gets_its_namespace_by_its_address(world, monkeypatch):
    await world.commands.run(command("ADD"), NETNS)
    (file,) = world.directory.glob("*.json")
    older = {"netns", "netns_cookie", "packet_services", "has_packets"}
    file.write_text(
        json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name not in older})
    )
    places = [
        (ipaddress.IPv4Address(address), f"/host/run/netns/{address}", 77) for address in ("10.0.1.9", "10.0.1.2")
    ]
    monkeypatch.setattr("seta_agent.cni.netns.known", lambda _directory, _ifname: iter(places))
    for directory, found in ((None, ("", 0)), (world.directory, ("/host/run/netns/10.0.1.2", 77))):
        tables = Tables()
        EndpointStore(tables, world.directory, NODE).restore(directory)
        (endpoint,) = tables.endpoints
        assert (endpoint.netns, endpoint.netns_cookie, endpoint.packet_services) == (*found, "")


async def test_a_restart_forgets_what_the_kernel_no_longer_has(world):
    await world.commands.run(command("ADD"), NETNS)
    world.kernel.veths.clear()
    assert EndpointStore(Tables(), world.directory, NODE).restore() == 0
    assert state_files(world) == []


async def test_a_broken_state_file_does_not_stop_the_others(world):
    await world.commands.run(command("ADD"), NETNS)
    (world.directory / "9.json").write_text("{half")
    (world.directory / "8.json").write_text(json.dumps({"id": 8}))
    assert EndpointStore(Tables(), world.directory, NODE).restore() == 1
    assert state_files(world) == ["1.json"]


async def test_a_restarted_agent_gives_no_address_twice(world):
    await world.commands.run(command("ADD"), NETNS)
    tables = Tables()
    tables.nodes.set(NODE, node())
    store = EndpointStore(tables, world.directory, NODE)
    store.restore()
    with store.reserve() as place:
        assert (place.id, str(place.ipv4)) == (2, "10.0.1.3")


def test_an_endpoint_survives_the_disk_unchanged(world):
    pod = xwing(named_ports=(("http", 80, "TCP"),), audit=True)
    bare = commands.new_endpoint(_place(world), command("ADD"), ("lxc1", 7, "m1", "m2"), pod, 4005)
    endpoint = world.store.identified(bare, identity(), pod)
    world.store.put(endpoint)
    world.kernel.veths["lxc1"] = endpoint.ipv4
    tables = Tables()
    EndpointStore(tables, world.directory, NODE).restore()
    assert list(tables.endpoints) == [endpoint]


def _place(world):
    with world.store.reserve() as place:
        return place
