"""Policies for the node itself, as the agent programs them: nothing without one, never a lock-out, no trace left."""

import dataclasses
import socket

from seta_agent.desired.encode import ip_of
from seta_agent.desired.endpoints import HOST_ENDPOINT, Flag
from seta_agent.programmer import devices
from seta_agent.tables import Policy, PolicyDirection, PolicyEntry, PolicyRule, PortMatch, SelectorSet
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import OTHER, OWN, QUIET
from tests.datapath.agent.test_programmer import ip

WEB = PolicyEntry("spec.ingress[0]", deny=False, peers=("ss-world",), ports=(PortMatch("TCP", 80),))
MAP = f"cilium_policy_v2_{HOST_ENDPOINT}"


def policy(*nodes, ingress=(WEB,), egress=None):
    rule = PolicyRule("", direction(ingress), direction(egress), nodes=nodes)
    return Policy("ccnp.web", "CiliumClusterwideNetworkPolicy web", 1, (rule,))


def direction(entries):
    return None if entries is None else PolicyDirection(default_deny=True, entries=tuple(entries))


def apply(lab, row):
    lab.tables.selector_sets.set("ss-world", SelectorSet("ss-world", "entity:world", frozenset({2})))
    lab.tables.policies.set(row.name, row)


def rows(lab):
    """(endpoint id, flags) of the node's own addresses."""
    _, values = lab.agent.dump_map("cilium_lxc")
    return {(int(v["lxc_id"]), int(v["flags"])) for v in values if v["flags"] & Flag.HOST}


def allowed(lab):
    """(identity, egress, protocol, port) of each entry that allows."""
    keys, values = lab.agent.dump_map(MAP)
    return {
        (int(k["sec_label"]), int(k["egress"]), int(k["protocol"]), int(k["dport"]))
        for k, v in zip(keys, values, strict=True)
        if not v["deny"]
    }


UNGUARDED = {(0, int(Flag.HOST))}
GUARDED = {(HOST_ENDPOINT, int(Flag.HOST | Flag.EGRESS_OPEN))}


@on_a_node
async def test_a_policy_for_this_node_guards_it_and_its_end_ends_that(lab):
    await lab.start(enable_host_firewall=True)
    assert rows(lab) == UNGUARDED
    apply(lab, policy("n1"))
    await lab.until(lambda: rows(lab) == GUARDED)
    assert (2, 0, 6, 80) in allowed(lab)
    assert lab.agent.default_deny(HOST_ENDPOINT, egress=False) == ("CiliumClusterwideNetworkPolicy web",)
    lab.tables.policies.delete("ccnp.web")
    await lab.until(lambda: rows(lab) == UNGUARDED)
    await lab.until(lambda: MAP not in lab.agent.maps().names())


@on_a_node
async def test_a_policy_for_another_node_does_not(lab):
    await lab.start(enable_host_firewall=True)
    apply(lab, policy("n2"))
    await lab.applied()
    assert rows(lab) == UNGUARDED


@on_a_node
async def test_switched_off_it_does_nothing(lab):
    await lab.start()
    apply(lab, policy("n1"))
    await lab.applied()
    assert rows(lab) == UNGUARDED
    assert MAP not in lab.agent.maps().names()


@on_a_node
async def test_what_is_forgotten_is_allowed_all_the_same(lab):
    await lab.start(enable_host_firewall=True)
    lab.tables.nodes.set("n2", dataclasses.replace(OTHER, identity=0x02000005, kube_apiserver=True))
    apply(lab, policy("n1", egress=()))
    await lab.until(lambda: rows(lab) == {(HOST_ENDPOINT, int(Flag.HOST))})
    nodes = {6, 7, 0x02000005}
    kubelet = {(node, egress, 6, 10250) for node in nodes for egress in (0, 1)}
    tunnel = {(node, egress, 17, 8472) for node in nodes for egress in (0, 1)}
    api = {(7, 1, 6, 6443), (0x02000005, 1, 6, 6443)}
    assert allowed(lab) == {(2, 0, 6, 80), (1, 0, 0, 0), (0, 0, 17, 68), (0, 1, 17, 67), *kubelet, *tunnel, *api}
    lab.tables.nodes.set("n1", dataclasses.replace(OWN, kube_apiserver=True))
    await lab.until(lambda: (0, 0, 6, 6443) in allowed(lab))


@on_a_node
async def test_only_audited_where_the_cluster_is(lab):
    await lab.start(enable_host_firewall=True, policy_audit_mode=True)
    apply(lab, policy("n1"))
    await lab.until(lambda: rows(lab) == {(HOST_ENDPOINT, int(Flag.HOST | Flag.EGRESS_OPEN | Flag.AUDIT))})


@on_a_node
async def test_a_restart_neither_opens_nor_closes(lab):
    await lab.start(enable_host_firewall=True)
    apply(lab, policy("n1"))
    await lab.until(lambda: rows(lab) == GUARDED)
    await lab.start(listed=False)
    assert rows(lab) == GUARDED
    for table in vars(lab.tables).values():
        table.synced = True
    await lab.until(lambda: lab.agent.synced)
    assert rows(lab) == GUARDED
    await lab.start(enable_host_firewall=False)
    assert rows(lab) == UNGUARDED
    assert MAP not in lab.agent.maps().names()


@on_a_node
async def test_what_it_does_not_allow_does_not_come_in(lab):
    await lab.start(enable_host_firewall=True)
    pod = await lab.add_pod(5)
    with socket.create_server(("192.168.50.1", 80)):
        assert connects(pod)
        apply(lab, policy("n1"))
        await lab.until(lambda: rows(lab) == GUARDED)
        assert not connects(pod)  # a pod is not the world
        apply(lab, policy("n1", ingress=[dataclasses.replace(WEB, peers=None)]))
        await lab.until(lambda: (0, 0, 6, 80) in allowed(lab))
        assert connects(pod)


@on_a_node
async def test_it_counts_for_every_address_of_the_node(lab):
    await lab.start(enable_host_firewall=True)
    pod = await lab.add_pod(5)
    apply(lab, policy("n1"))
    await lab.until(lambda: rows(lab) == GUARDED)
    ip("link", "add", "ens6", "type", "veth", "peer", "name", "ens6-lan")
    for address, device in (("192.168.50.77/24", "ens5"), ("192.168.60.1/24", "ens6")):
        ip("addr", "add", address, "dev", device)
    await lab.until(lambda: {"192.168.50.77", "192.168.60.1"} <= own_addresses(lab))
    assert rows(lab) == GUARDED
    for address in ("192.168.50.77", "192.168.60.1"):
        with socket.create_server((address, 80)):
            assert not connects(pod, address)
    lab.tables.policies.delete("ccnp.web")
    await lab.until(lambda: rows(lab) == UNGUARDED)
    with socket.create_server(("192.168.60.1", 80)):
        ip("link", "set", "ens6", "up")
        assert connects(pod, "192.168.60.1")
    ip("link", "del", "ens6")
    await lab.until(lambda: "192.168.60.1" not in own_addresses(lab))


def own_addresses(lab):
    keys, values = lab.agent.dump_map("cilium_lxc")
    return {str(ip_of(k["ip"].tobytes(), k["family"])) for k, v in zip(keys, values, strict=True) if v["sec_id"] == 1}


def connects(pod, address="192.168.50.1"):
    with devices.in_netns(pod.netns, socket.socket) as one:
        one.settimeout(QUIET)
        return one.connect_ex((address, 80)) == 0
