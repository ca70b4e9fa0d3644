"""Connections that lose their allow, on real kernel objects: cut in both directions, also where only one end speaks."""

import asyncio
import contextlib
import dataclasses
import ipaddress
import os

from seta_agent.tables import Identity, Policy, PolicyDirection, PolicyEntry, PolicyRule, RemotePod, SelectorSet
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import IP, QUIET, SECONDS

RANGE = 16777217


def set_selector(lab, name, *identities):
    lab.tables.selector_sets.set(name, SelectorSet(name, name, frozenset(identities)))


def set_policy(lab, *peers, egress=False, name="cnp.ns.p", subject="ss-subject"):
    direction = PolicyDirection(default_deny=True, entries=(PolicyEntry("spec", deny=False, peers=peers, ports=None),))
    rule = PolicyRule(subject, *((None, direction) if egress else (direction, None)))
    lab.tables.policies.set(name, Policy(name, name, 1, (rule,)))


async def streams(server, client):
    """Whether what the server sends, unasked, reaches the client."""
    token = os.urandom(8)
    server.udp.sendto(token, client.address)
    client.udp.settimeout(QUIET)
    with contextlib.suppress(TimeoutError):
        while (await asyncio.to_thread(client.udp.recv, 64)) != token:
            pass
        return True
    return False


async def until(fact):
    """The server's stream is cut, or goes on again, a moment after the policy changed."""
    async with asyncio.timeout(SECONDS):
        while not await fact():  # noqa: ASYNC110 - the fact is a packet's
            await asyncio.sleep(0.02)


async def pair(lab, **identities):
    await lab.start()
    set_selector(lab, "ss-client", 300)
    set_selector(lab, "ss-server", 400)
    client = await lab.add_pod(5, 300, **identities)
    return client, await lab.add_pod(7, 400)


@on_a_node
async def test_answers_stop_when_the_clients_egress_loses_its_allow(lab):
    client, server = await pair(lab)
    set_policy(lab, "ss-server", egress=True, subject="ss-client")
    await lab.applied()
    assert await lab.reaches(client, server)
    assert await streams(server, client)
    set_policy(lab, egress=True, subject="ss-client")
    await until(lambda: _not(streams(server, client)))
    set_policy(lab, "ss-server", egress=True, subject="ss-client")
    await until(lambda: streams(server, client))


@on_a_node
async def test_answers_stop_when_the_servers_ingress_loses_its_allow(lab):
    client, server = await pair(lab)
    set_policy(lab, "ss-client", subject="ss-server")
    await lab.applied()
    assert await lab.reaches(client, server)
    assert await streams(server, client)
    set_policy(lab, subject="ss-server")
    await until(lambda: _not(streams(server, client)))


@on_a_node
async def test_answers_stop_when_the_clients_identity_is_another(lab):
    client, server = await pair(lab)
    set_policy(lab, "ss-client", subject="ss-server")
    await lab.applied()
    assert await lab.reaches(client, server)
    assert await streams(server, client)
    lab.tables.endpoints.set(5, dataclasses.replace(client.endpoint, identity=301))
    await until(lambda: _not(streams(server, client)))


@on_a_node
async def test_under_audit_nothing_is_cut(lab):
    client, server = await pair(lab, audit=True)
    set_policy(lab, "ss-server", egress=True, subject="ss-client")
    await lab.applied()
    assert await lab.reaches(client, server)
    set_policy(lab, egress=True, subject="ss-client")
    await lab.applied()
    assert await lab.reaches(client, server)
    assert await streams(server, client)


@on_a_node
async def test_other_connections_are_left_alone(lab):
    client, server = await pair(lab)
    bystander = await lab.add_pod(6, 302)
    set_selector(lab, "ss-bystander", 302)
    set_policy(lab, "ss-client", "ss-bystander", subject="ss-server")
    await lab.applied()
    assert await lab.reaches(client, server)
    assert await lab.reaches(bystander, server)
    set_policy(lab, "ss-bystander", subject="ss-server")
    await until(lambda: _not(streams(server, client)))
    assert await streams(server, bystander)


async def _not(fact):
    return not await fact


def identity_of(lab, address):
    """What the kernel's IP cache says of an address: the longest prefix."""
    keys, values = lab.agent.dump_map("cilium_ipcache_v2")
    found = [
        (int(key["prefixlen"]), int(value["sec_identity"]))
        for key, value in zip(keys, values, strict=True)
        if IP(address) in ipaddress.ip_network((key["ip"].tobytes()[:4], int(key["prefixlen"]) - 32))
    ]
    return max(found, default=(0, 2))[1]


def admit(lab, number, prefix=None):
    row = Identity(number, frozenset(), (), ipaddress.ip_network(prefix) if prefix else None)
    lab.tables.admitted.set(number, row)


@on_a_node
async def test_ranges_come_and_go_and_single_addresses_keep_their_own(lab):
    await lab.start()
    await lab.add_pod(5, 300)
    admit(lab, RANGE, "192.0.2.0/24")
    admit(lab, RANGE + 1, "192.0.2.7/32")
    admit(lab, RANGE + 2, "10.1.0.0/16")
    admit(lab, RANGE + 3, "10.1.1.5/32")
    admit(lab, RANGE + 4, "192.168.50.2/32")
    await lab.applied()
    asked = ("192.0.2.1", "192.0.2.7", "10.1.9.9", "10.1.1.5", "10.1.2.9", "192.168.50.2", "198.51.100.1")
    assert [identity_of(lab, one) for one in asked] == [RANGE, RANGE + 1, RANGE + 2, 300, 3, 6, 2]
    lab.tables.admitted.delete(RANGE + 1)
    await lab.applied()
    assert identity_of(lab, "192.0.2.7") == RANGE


@on_a_node
async def test_ranges_stay_over_a_restart(lab):
    await lab.start()
    admit(lab, RANGE, "192.0.2.0/24")
    await lab.applied()
    await lab.start(listed=False)
    assert identity_of(lab, "192.0.2.1") == RANGE
    for table in vars(lab.tables).values():
        table.synced = True
    await lab.until(lambda: lab.agent.synced)
    assert identity_of(lab, "192.0.2.1") == RANGE


@on_a_node
async def test_a_node_is_known_by_itself_once_that_identity_is_admitted(lab):
    await lab.start()
    other = lab.tables.nodes.get("n2")
    lab.tables.nodes.set("n2", dataclasses.replace(other, identity=33554433))
    await lab.applied()
    assert identity_of(lab, "192.168.50.2") == 6
    admit(lab, 33554433)
    await lab.applied()
    assert [identity_of(lab, one) for one in ("192.168.50.2", "10.1.2.1")] == [33554433, 33554433]
    lab.tables.admitted.delete(33554433)
    await lab.applied()
    assert identity_of(lab, "192.168.50.2") == 6


@on_a_node
async def test_what_is_enforced_is_told_by_generation(lab):
    await lab.start()
    set_selector(lab, "ss-client", 300)
    await lab.add_pod(5, 300)
    told = []
    lab.agent.on_enforced(lambda: told.append(dict(lab.agent.enforced())))
    set_policy(lab, "ss-client", subject="ss-client")
    await lab.applied()
    lab.tables.policies.delete("cnp.ns.p")
    await lab.applied()
    assert told == [{"cnp.ns.p": 1}, {}]


@on_a_node
async def test_a_pod_elsewhere_that_is_called_otherwise_makes_connections_looked_at(lab):
    """Counted, as there is no other node here that could answer."""
    await lab.start()
    pod = RemotePod("ns", "far", 500, (IP("10.1.2.9"),), IP("192.168.50.2"))
    lab.tables.remote_pods.set("ces-1", (pod,))
    await lab.applied()
    before = lab.agent.upkeep.replaced
    lab.tables.remote_pods.set("ces-1", (dataclasses.replace(pod, identity=501),))
    await lab.applied()
    assert lab.agent.upkeep.replaced == before + 1
