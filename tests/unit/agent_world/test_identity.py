"""Which identity a pod gets, and when: the barrier that keeps a new pod from being briefly unselected."""

import asyncio
import dataclasses

import pytest

from seta_agent.cni import identity as module
from seta_agent.cni import statefiles
from seta_agent.cni.commands import new_endpoint
from seta_agent.cni.endpoints import EndpointStore
from seta_agent.cni.errors import CniError
from seta_agent.cni.identity import IdentityFollower, IdentityIndex
from seta_agent.cni.request import PodRef
from seta_agent.signals import Signal
from seta_crds import names
from tests.unit.agent_world.world import NODE, XWING_LABELS, added, identity, selector_set, xwing

REF = PodRef("default", "xwing", "u1")
EMPIRE = frozenset(label.replace("alliance", "empire") for label in XWING_LABELS)


def path_of(name: str) -> str:
    return names.SELECTOR_SET.path(name=name)


async def resolve(world, seconds: float = 1.0) -> int:
    return (await world.resolver.resolve(REF, seconds))[1].id


async def test_an_identity_without_sets_is_given_at_once(world):
    assert await resolve(world) == 300
    assert world.api.asked == []


async def test_of_several_with_the_same_labels_the_lowest_wins(world):
    world.tables.identities.set(299, identity(299))
    assert await resolve(world) == 299
    world.tables.identities.delete(299)
    assert await resolve(world) == 300


async def test_a_known_set_that_contains_it_needs_no_question(world):
    world.tables.identities.set(300, identity(sets=("ss-a",)))
    world.tables.selector_sets.set("ss-a", selector_set("ss-a", 300))
    assert await resolve(world) == 300
    assert world.api.asked == []


async def test_a_set_that_is_gone_does_not_hold_it_back(world):
    world.tables.identities.set(300, identity(sets=("ss-gone",)))
    assert await resolve(world) == 300
    assert world.api.asked == [path_of("ss-gone")]


async def test_a_set_that_no_longer_selects_it_does_not_hold_it_back(world):
    world.tables.identities.set(300, identity(sets=("ss-a",)))
    world.api.objects[path_of("ss-a")] = {"spec": {"identities": [4]}}
    assert await resolve(world) == 300


async def test_a_set_that_selects_it_is_waited_for(world):
    world.tables.identities.set(300, identity(sets=("ss-a",)))
    world.tables.selector_sets.set("ss-a", selector_set("ss-a", 4))
    world.api.objects[path_of("ss-a")] = {"spec": {"identities": [4, 300]}}
    waiting = asyncio.create_task(resolve(world, 5.0))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    world.tables.selector_sets.set("ss-a", selector_set("ss-a", 4, 300))
    assert await waiting == 300


async def test_without_the_api_server_the_barrier_stays_closed(world):
    world.tables.identities.set(300, identity(sets=("ss-a",)))
    world.api.down = True
    with pytest.raises(CniError, match="policies that select it have not arrived"):
        await resolve(world, 0.05)


async def test_the_barrier_asks_again_when_the_api_server_is_back(world, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    world.tables.identities.set(300, identity(sets=("ss-a",)))
    world.api.down = True
    waiting = asyncio.create_task(resolve(world, 5.0))
    await asyncio.sleep(0.03)
    world.api.down = False
    assert await waiting == 300


def test_the_index_follows_a_change_of_labels(world):
    index = IdentityIndex(world.tables)
    world.tables.identities.set(300, identity(labels=EMPIRE))
    assert index.find(XWING_LABELS) is None
    assert index.find(EMPIRE).id == 300


@pytest.fixture
def running(world):
    """A live endpoint of the pod xwing, identity 300."""
    with world.store.reserve() as place:
        bare = new_endpoint(place, added("c1"), ("lxc1", 7, "m1", "m2"), xwing(), 4005)
        world.store.put(world.store.identified(bare, identity(), xwing()))
    return world


async def test_a_label_change_gives_a_live_endpoint_its_new_identity(running):
    running.tables.identities.set(301, identity(301, labels=EMPIRE))
    running.tables.pods.set(("default", "xwing"), xwing(labels={"org": "empire"}))
    await IdentityFollower(running.tables, running.store, running.resolver).step()
    (endpoint,) = running.tables.endpoints
    assert (endpoint.identity, "k8s:org=empire" in endpoint.labels) == (301, True)


async def test_until_the_new_identity_exists_the_old_one_stays(running):
    running.tables.pods.set(("default", "xwing"), xwing(labels={"org": "empire"}))
    await IdentityFollower(running.tables, running.store, running.resolver).step()
    assert [endpoint.identity for endpoint in running.tables.endpoints] == [300]


async def test_a_live_change_passes_the_barrier_too(running, monkeypatch):
    monkeypatch.setattr(module, "BARRIER_SECONDS", 0.05)
    running.tables.identities.set(301, identity(301, labels=EMPIRE, sets=("ss-a",)))
    running.tables.pods.set(("default", "xwing"), xwing(labels={"org": "empire"}))
    running.api.objects[path_of("ss-a")] = {"spec": {"identities": [301]}}
    follower = IdentityFollower(running.tables, running.store, running.resolver)
    await follower.step()
    assert [endpoint.identity for endpoint in running.tables.endpoints] == [300]
    running.tables.selector_sets.set("ss-a", selector_set("ss-a", 301))
    await follower.step()
    assert [endpoint.identity for endpoint in running.tables.endpoints] == [301]


async def test_a_pods_annotation_changes_a_live_endpoint(running):
    running.tables.pods.set(("default", "xwing"), xwing(audit=True))
    await IdentityFollower(running.tables, running.store, running.resolver).step()
    assert [endpoint.audit for endpoint in running.tables.endpoints] == [True]


@pytest.mark.parametrize(
    ("cluster", "pod", "option", "audits"),
    [
        (False, False, None, False),
        (True, False, None, True),
        (False, True, None, True),
        (True, True, False, False),
        (False, False, True, True),
    ],
)
def test_an_endpoints_own_option_decides_on_audit_else_the_pod_or_the_cluster(running, cluster, pod, option, audits):
    store = EndpointStore(running.tables, running.directory, NODE, audit=cluster)
    (row,) = running.tables.endpoints
    assert store.identified(dataclasses.replace(row, audit_option=option), identity(), xwing(audit=pod)).audit == audits


def test_an_endpoints_option_is_kept_by_its_state_file(running):
    (row,) = running.tables.endpoints
    assert running.store.configure(row.id, audit=True).audit
    assert [kept.audit_option for kept in statefiles.load_endpoints(running.directory)] == [True]
    assert running.store.configure(99, audit=True) is None


def test_what_a_port_is_called_belongs_to_an_identity(running):
    named = identity(302, labels=XWING_LABELS | {"k8s:io.cilium.k8s.named-ports=http=80/TCP"})
    running.tables.identities.set(302, named)
    assert running.resolver.of_pod(xwing(named_ports=(("http", 80, "TCP"),))) == named


async def test_a_live_pods_opt_out_takes_effect_and_its_packets_are_looked_up_ever_after(running):
    follower = IdentityFollower(running.tables, running.store, running.resolver)
    for reason, known in (("annotation", True), ("", True)):
        running.tables.pods.set(("default", "xwing"), xwing(packet_services=reason))
        await follower.step()
        (endpoint,) = running.tables.endpoints
        assert (endpoint.packet_services, endpoint.has_packets) == (reason, known)


def test_where_only_the_nodes_own_sockets_are_translated_every_pod_has_packets(running):
    store = EndpointStore(running.tables, running.directory, NODE, packet_services="hostNamespaceOnly")
    (endpoint,) = running.tables.endpoints
    changed = store.identified(endpoint, identity(), xwing(packet_services="istio-proxy"))
    assert (changed.packet_services, changed.has_packets) == ("hostNamespaceOnly", True)


async def test_another_pod_of_the_same_name_changes_nothing(running):
    running.tables.identities.set(301, identity(301, labels=EMPIRE))
    running.tables.pods.set(("default", "xwing"), xwing(uid="u2", labels={"org": "empire"}))
    await IdentityFollower(running.tables, running.store, running.resolver).step()
    assert [endpoint.identity for endpoint in running.tables.endpoints] == [300]


async def test_the_follower_acts_when_tables_change(running):
    task = asyncio.create_task(IdentityFollower(running.tables, running.store, running.resolver).run())
    await asyncio.sleep(0)
    running.tables.identities.set(301, identity(301, labels=EMPIRE))
    running.tables.pods.set(("default", "xwing"), xwing(labels={"org": "empire"}))
    given = lambda: [endpoint.identity for endpoint in running.tables.endpoints] == [301] or None  # noqa: E731
    await Signal(running.tables.endpoints).until(given, 5)
    task.cancel()
