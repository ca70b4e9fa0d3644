"""The programmer on real kernel objects: what comes into being, what is corrected, what goes."""

import asyncio
import dataclasses
import ipaddress
import subprocess

import numpy as np
import pytest

from seta_agent.api.kernel import KernelReader
from seta_agent.bpf import syscall
from seta_agent.bpf.maps import Map
from seta_agent.programmer import devices, gc, node
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.tables import (
    Backend,
    Frontend,
    Policy,
    PolicyDirection,
    PolicyEntry,
    PolicyRule,
    PortMatch,
    RemotePod,
    SelectorSet,
    Service,
    ServicePort,
)
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import IP, OTHER, OWN, SECONDS

WEB = ("ns", "web")


def service(*addresses):
    backends = tuple(Backend(IP(address), 8080) for address in addresses)
    frontend = Frontend(17, "ClusterIP", IP("10.96.0.10"), 80)
    return Service(*WEB, (ServicePort("http", "TCP", (frontend,), backends),))


def set_selector(lab, name, *identities):
    lab.tables.selector_sets.set(name, SelectorSet(name, name, frozenset(identities)))


def set_policy(lab, *entries, subject="ss-subject", name="cnp.ns.p"):
    rule = PolicyRule(subject, PolicyDirection(default_deny=True, entries=entries), None)
    lab.tables.policies.set(name, Policy(name, f"CiliumNetworkPolicy {name}", 1, (rule,)))


def entry(*peers, deny=False, ports=None):
    return PolicyEntry("spec.ingress[0]", deny=deny, peers=peers or None, ports=ports)


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def contents(agent, name):
    keys, values = agent.dump_map(name)
    return dict(zip([key.tobytes() for key in keys], [value.tobytes() for value in values], strict=True))


def links(lab):
    """Link name -> (link id, program id)"""
    found = {}
    for path in lab.settings.links_dir.iterdir():
        info = syscall.link_info(syscall.get(path))
        found[path.name] = (info.id, info.prog_id)
    return found


@on_a_node
async def test_a_new_node_gets_its_devices_maps_links_and_routes(lab):
    await lab.start()
    assert {"ens5_from_netdev", "seta_vxlan_to_overlay", "cgroup_sock4_connect"} <= links(lab).keys()
    assert "10.1.2.0/24 dev seta_vxlan proto 83 scope link src 10.1.1.1 mtu 1450" in ip("route")
    assert "10.1.1.1/32" in ip("addr", "show", "dev", "lo")
    assert "vxlan external" in ip("-d", "link", "show", "seta_vxlan")
    assert "dstport 8472" in ip("-d", "link", "show", "seta_vxlan")


@on_a_node
async def test_native_routing_needs_no_tunnel_and_sets_direct_routes_when_told_to(lab):
    await lab.start(routing_mode="native", auto_direct_node_routes=True)
    assert "10.1.2.0/24 via 192.168.50.2 dev ens5 proto 83" in ip("route")
    assert "seta_vxlan" not in ip("link")
    assert lab.agent.pod_mtu == 1500


@on_a_node
async def test_a_node_that_cannot_be_routed_to_keeps_nobody_back(lab, monkeypatch):
    monkeypatch.setattr(node, "RETRY_SECONDS", 0.1)
    far = dataclasses.replace(OTHER, internal_ips=(IP("203.0.113.9"),))
    await lab.start(routing_mode="native", auto_direct_node_routes=True, nodes=(OWN, far))
    assert "the route to 10.1.2.0/24 cannot be set" in lab.agent.status()["route_errors"][0]
    assert (lab.agent.status()["failure"], lab.agent.failing_since) == ("", None)
    await lab.add_pod(5)
    ip("route", "add", "203.0.113.0/24", "dev", "ens5")
    await lab.until(lambda: not lab.agent.status()["route_errors"])
    assert "10.1.2.0/24 via 203.0.113.9" in ip("route")


@on_a_node
async def test_changing_the_mode_removes_what_the_other_needed(lab):
    await lab.start()
    await lab.start(routing_mode="native")
    assert "seta_vxlan" not in ip("link") + ip("route")
    assert not any(name.startswith("seta_vxlan") for name in links(lab))


@on_a_node
async def test_pods_reach_each_other_and_the_node(lab):
    await lab.start()
    one, other = await lab.add_pod(5), await lab.add_pod(6)
    assert await lab.reaches(one, other)
    assert await lab.reaches(other, one)
    assert "10.1.1.5 dev lxc" in ip("route")
    assert f"lladdr {one.endpoint.mac} PERMANENT" in ip("neigh")


@on_a_node
async def test_a_removed_pod_leaves_nothing(lab):
    await lab.start()
    before = traces(lab)
    await lab.add_pod(5)
    lab.tables.endpoints.delete(5)
    await lab.agent.endpoint_removed(5)
    assert traces(lab) == before
    assert not any(any(value) for value in contents(lab.agent, "cilium_policy_maps").values())


def traces(lab):
    """What pods leave on a node while they run."""
    return (sorted(links(lab)), lab.agent.maps().names(), contents(lab.agent, "cilium_lxc"), ip("route"))


@on_a_node
async def test_pods_that_come_and_go_at_once_leave_nothing(lab):
    await lab.start()
    before = traces(lab)
    numbers = range(10, 26)
    for _ in range(2):  # the second time with the same ids and names
        pods = [await lab.add_pod(number, wait=False) for number in numbers]
        for number in numbers:
            lab.tables.endpoints.delete(number)
            if number % 3 == 0:
                await asyncio.sleep(0.002)
            if number % 2 == 0:
                lab.tables.endpoints.set(number, pods[number - 10].endpoint)
        for number in numbers[::2]:
            await lab.agent.endpoint_programmed(number, SECONDS)
            lab.tables.endpoints.delete(number)
        for number in numbers:
            await lab.agent.endpoint_removed(number)
        assert traces(lab) == before


@on_a_node
async def test_policy_is_enforced_and_lifted(lab):
    await lab.start()
    client, stranger, server = await lab.add_pod(5, 300), await lab.add_pod(6, 301), await lab.add_pod(7, 400)
    assert lab.agent.enforcement(server.endpoint) == (False, False)
    set_selector(lab, "ss-subject", 400)
    set_selector(lab, "ss-client", 300)
    set_policy(lab, entry("ss-client", ports=(PortMatch("UDP", 80),)))
    await lab.applied()
    assert lab.agent.enforcement(server.endpoint) == (True, False)
    assert lab.agent.default_deny(7, egress=False) == ("CiliumNetworkPolicy cnp.ns.p",)
    assert await lab.reaches(client, server)
    assert not await lab.reaches(stranger, server)
    set_policy(lab, entry(deny=True), name="cnp.ns.q")
    await lab.applied()
    assert not await lab.reaches(client, server)
    for name in ("cnp.ns.p", "cnp.ns.q"):
        lab.tables.policies.delete(name)
    await lab.applied()
    assert await lab.reaches(stranger, server)
    assert contents(lab.agent, "cilium_policy_v2_00007") == {}


@on_a_node
async def test_a_new_identity_in_a_set_reaches_the_map(lab):
    await lab.start()
    client, server = await lab.add_pod(5, 300), await lab.add_pod(7, 400)
    set_selector(lab, "ss-subject", 400)
    set_selector(lab, "ss-client")
    set_policy(lab, entry("ss-client"))
    await lab.applied()
    assert not await lab.reaches(client, server)
    set_selector(lab, "ss-client", 300)
    await lab.applied()
    assert await lab.reaches(client, server)


@on_a_node
async def test_nothing_is_delivered_before_policies_are_listed(lab):
    await lab.start(listed=False)
    lab.tables.endpoints.synced = True
    await lab.add_pod(5, wait=False)
    with pytest.raises(ProgrammingError, match=r"endpoint 5 .* the policies have not been listed yet"):
        await lab.agent.endpoint_programmed(5, 0.05)
    assert not any(name.startswith("lxc") for name in links(lab))
    await lab.listed()
    await lab.agent.endpoint_programmed(5, SECONDS)


@on_a_node
async def test_an_endpoint_waits_for_its_identity(lab):
    await lab.start()
    pod = await lab.add_pod(5, identity=None, wait=False)
    with pytest.raises(ProgrammingError, match="no identity"):
        await lab.agent.endpoint_programmed(5, 0.05)
    lab.tables.endpoints.set(5, dataclasses.replace(pod.endpoint, identity=300))
    await lab.agent.endpoint_programmed(5, SECONDS)


@on_a_node
async def test_a_pod_whose_device_is_gone_is_told_and_keeps_nobody_back(lab):
    await lab.start()
    pod = await lab.add_pod(5)
    lab.tables.endpoints.set(
        9, dataclasses.replace(pod.endpoint, id=9, ifname="lxcgone", ifindex=999, ipv4=IP("10.1.1.9"))
    )
    await lab.add_pod(6)
    await lab.until(lambda: 9 in lab.agent.status()["endpoint_errors"])
    assert "no such device" in lab.agent.status()["endpoint_errors"][9]


@on_a_node
async def test_what_keeps_failing_is_tried_again_at_one_pace(lab, monkeypatch):
    monkeypatch.setattr(node, "RETRY_SECONDS", 0.1)
    await lab.start()
    pod = await lab.add_pod(5)
    for number in range(20, 40):
        broken = dataclasses.replace(
            pod.endpoint, id=number, ifname="lxcgone", ifindex=999, ipv4=IP(f"10.1.1.{number}")
        )
        lab.tables.endpoints.set(number, broken)
        await lab.applied()
    before = lab.agent.status()["passes"]
    await asyncio.sleep(0.55)
    assert 1 <= lab.agent.status()["passes"] - before <= 6


@on_a_node
async def test_a_device_made_anew_under_its_old_name_gets_its_links(lab):
    await lab.start()
    pod, other = await lab.add_pod(5), await lab.add_pod(6)
    devices_before = links(lab)
    lab.tables.endpoints.delete(5)
    again = await lab.add_pod(5)
    assert again.endpoint.ifname == pod.endpoint.ifname
    name = f"{pod.endpoint.ifname}_from_container"
    assert links(lab)[name][0] != devices_before[name][0]
    assert await lab.reaches(other, again)


@on_a_node
async def test_services_are_programmed_changed_and_removed(lab):
    await lab.start()
    lab.tables.services.set(WEB, service("10.1.2.5", "10.1.2.6"))
    await lab.applied()
    assert len(contents(lab.agent, "cilium_lb4_services_v2")) == 3
    assert len(contents(lab.agent, "cilium_lb4_backends_v3")) == 2
    lab.tables.services.set(WEB, service("10.1.2.6"))
    await lab.applied()
    assert list(contents(lab.agent, "cilium_lb4_backends_v3")) == [(2).to_bytes(4, "little")]
    lab.tables.services.set(WEB, service())
    await lab.applied()
    assert len(contents(lab.agent, "cilium_lb4_services_v2")) == 1
    lab.tables.services.delete(WEB)
    await lab.applied()
    for name in ("services_v2", "backends_v3", "reverse_nat"):
        assert contents(lab.agent, f"cilium_lb4_{name}") == {}


@on_a_node
async def test_a_slice_that_lags_behind_does_not_override_a_local_pod(lab):
    await lab.start()
    await lab.add_pod(5, 300)
    before = contents(lab.agent, "cilium_ipcache_v2")
    lab.tables.remote_pods.set("ces-1", (RemotePod("ns", "old", 777, (IP("10.1.1.5"),), IP("192.168.50.2")),))
    await lab.applied()
    assert contents(lab.agent, "cilium_ipcache_v2") == before


@on_a_node
async def test_a_full_policy_map_drops_what_is_missing_and_says_so(lab):
    await lab.start(bpf_policy_map_max=8)
    client, denied, server = await lab.add_pod(5, 300), await lab.add_pod(6, 301), await lab.add_pod(7, 400)
    set_selector(lab, "ss-subject", 400)
    set_selector(lab, "ss-many", *range(1000, 1020))
    set_selector(lab, "ss-denied", 301)
    set_policy(lab, entry("ss-denied", deny=True), entry("ss-many"))
    await lab.until(lambda: "map is full" in lab.agent.status()["endpoint_errors"].get(7, ""))
    assert not await lab.reaches(denied, server)
    assert not await lab.reaches(client, server)
    set_selector(lab, "ss-many", 300)
    await lab.until(lambda: not lab.agent.status()["endpoint_errors"])
    assert await lab.reaches(client, server)


@on_a_node
async def test_a_policy_that_does_not_fit_is_not_written_again_and_again(lab, monkeypatch):
    monkeypatch.setattr(node, "RETRY_SECONDS", 0.05)
    await lab.start(bpf_policy_map_max=8)
    await lab.add_pod(7, 400)
    set_selector(lab, "ss-subject", 400)
    set_selector(lab, "ss-many", *range(1000, 1020))
    set_policy(lab, entry("ss-many"))
    await lab.until(lambda: "map is full" in lab.agent.status()["endpoint_errors"].get(7, ""))
    maps = lab.agent._setup.policy_maps
    maps.take_changed()
    installed, removed = dict(maps._outer.installed), []
    monkeypatch.setattr(maps._outer, "remove", removed.append)
    passes = lab.agent.status()["passes"]
    await lab.until(lambda: lab.agent.status()["passes"] >= passes + 3)
    assert 7 in lab.agent.status()["endpoint_errors"]
    assert (dict(maps._outer.installed), removed, maps.take_changed()) == (installed, [], set())


@on_a_node
async def test_a_changed_router_address_is_taken_over(lab):
    await lab.start()
    one, other = await lab.add_pod(5), await lab.add_pod(6)
    before = links(lab)
    lab.tables.nodes.set("n1", dataclasses.replace(OWN, router_ips=(IP("10.1.1.254"),)))
    await lab.applied()
    await lab.until(lambda: "10.1.1.254/32" in ip("addr", "show", "dev", "lo"))
    await lab.until(lambda: lab.agent.status()["failure"] == "")
    after = links(lab)
    assert {name: link[0] for name, link in after.items()} == {name: link[0] for name, link in before.items()}
    assert all(after[name][1] != before[name][1] for name in after)
    assert await lab.reaches(one, other)


@on_a_node
async def test_routes_of_nodes_come_and_go_and_strangers_routes_stay(lab):
    await lab.start()
    ip("route", "add", "10.7.0.0/16", "dev", "ens5")
    third = dataclasses.replace(OTHER, name="n3", pod_cidrs=(ipaddress.ip_network("10.1.3.0/24"),))
    lab.tables.nodes.set("n3", third)
    await lab.applied()
    assert "10.1.3.0/24 dev seta_vxlan" in ip("route")
    lab.tables.nodes.delete("n3")
    await lab.applied()
    assert "10.1.3.0/24" not in ip("route")
    assert "10.7.0.0/16 dev ens5" in ip("route")


@on_a_node
async def test_expired_connections_are_collected(lab):
    await lab.start()
    client, server = await lab.add_pod(5), await lab.add_pod(6)
    assert await lab.reaches(client, server)
    name = "cilium_ct_any4_global"
    keys, values = lab.agent.dump_map(name)
    assert len(keys)
    opened = Map.pinned(lab.settings.maps_dir / name, keys.dtype, values.dtype)
    stale = keys[:1].copy()
    stale["sport"] = 4242
    over = values[:1].copy()
    over["lifetime"] = 1
    opened.update(stale, over)
    nat_key, nat_value = lab.agent.maps().layout("cilium_snat_v4_external")
    mapping = np.zeros(1, nat_key)
    mapping["sport"] = 4242
    opened_nat = Map.pinned(lab.settings.maps_dir / "cilium_snat_v4_external", nat_key, nat_value)
    opened_nat.update(mapping, np.zeros(1, nat_value))
    deleted = gc.collect(lab.agent.maps())
    assert (deleted[name], deleted["cilium_snat_v4_external"]) == (1, 1)
    assert len(lab.agent.dump_map(name)[0]) == len(keys)


@on_a_node
async def test_a_pod_with_an_interface_already_is_refused(lab):
    await lab.start()
    pod = await lab.add_pod(5)
    with pytest.raises(ProgrammingError, match="has an interface eth0 already") as caught:
        devices.in_netns(
            pod.netns, lambda: devices.create_pod_veth(pod.netns, "other", IP("10.1.1.9"), IP("10.1.1.1"), 1450)
        )
    assert not caught.value.retry


@on_a_node
async def test_a_maglev_table_can_be_looked_into(lab):
    agent = await lab.start(bpf_lb_algorithm="maglev", bpf_lb_maglev_table_size=251)
    row = service("10.1.2.5", "10.1.2.6")
    (port,) = row.ports
    front = Frontend(18, "NodePort", IP("0.0.0.0"), 30080)
    lab.tables.services.set(WEB, dataclasses.replace(row, ports=(dataclasses.replace(port, frontends=(front,)),)))
    await lab.applied()
    tables = dict(KernelReader(lab.settings, agent).inner_words("cilium_lb4_maglev"))
    ids = set(agent.dump_map("cilium_lb4_backends_v3")[0].tolist())
    assert {len(words) for words in tables.values()} == {251}
    assert set(tables[18].tolist()) == ids
