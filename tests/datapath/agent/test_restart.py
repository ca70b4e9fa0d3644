"""An agent that ends at any moment and another that starts: not one packet's fate changes."""

import asyncio
import dataclasses
import ipaddress
import socket
import threading

import numpy as np
import pytest

from seta_agent.bpf.elf import Elf
from seta_agent.bpf.maps import Map
from seta_agent.desired.endpoints import HOST_ENDPOINT
from seta_agent.programmer.errors import ProgrammingError
from seta_agent.settings import Settings
from seta_agent.tables import (
    Backend,
    Identity,
    Policy,
    PolicyDirection,
    PolicyRule,
    PortMatch,
    Service,
    ServicePort,
)
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import IP, OTHER, OWN
from tests.datapath.agent.test_programmer import (
    WEB,
    contents,
    entry,
    ip,
    links,
    service,
    set_policy,
    set_selector,
)

FILLED = (
    "cilium_lxc",
    "cilium_ipcache_v2",
    "cilium_lb4_services_v2",
    "cilium_lb4_backends_v3",
    "cilium_policy_v2_00007",
)


class Stream:
    """Datagrams from a pod to another as fast as the receiver takes them: each must arrive, and from nobody else."""

    def __init__(self, source, target, forbidden):
        self.sent = self.received = self.leaked = 0
        self._pods = (source, target, forbidden)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        while self.received < self.sent and self._receive():  # what was late on a busy machine
            pass

    def _work(self):
        source, target, forbidden = self._pods
        target.udp.settimeout(0.5)
        while not self._stop.is_set():
            forbidden.udp.sendto(b"no", target.address)
            source.udp.sendto(b"yes", target.address)
            self.sent += 1
            self._receive()

    def _receive(self):
        try:
            data = self._pods[1].udp.recv(16)
        except TimeoutError:
            return False
        self.received += data == b"yes"
        self.leaked += data == b"no"
        return True


async def populated(lab, **settings):
    await lab.start(**settings)
    client, stranger, server = await lab.add_pod(5, 300), await lab.add_pod(6, 301), await lab.add_pod(7, 400)
    set_selector(lab, "ss-subject", 400)
    set_selector(lab, "ss-client", 300)
    set_policy(lab, entry("ss-client"))
    lab.tables.services.set(WEB, service("10.1.2.5", "10.1.2.6"))
    await lab.applied()
    return client, stranger, server


@pytest.mark.parametrize("mode", ["tunnel", "native"])
@on_a_node
async def test_a_restart_changes_no_packets_fate(lab, mode):
    client, stranger, server = await populated(lab, routing_mode=mode)
    before, first_links = {name: contents(lab.agent, name) for name in FILLED}, links(lab)
    with Stream(client, server, stranger) as stream:
        for aggregation in ("none", "medium", "none"):  # other constants: the programs are loaded anew
            await lab.start(listed=False, monitor_aggregation=aggregation)
            await asyncio.sleep(0.1)
            await lab.listed()
    assert stream.sent > 100
    assert (stream.received, stream.leaked) == (stream.sent, 0)
    after, last_links = {name: contents(lab.agent, name) for name in FILLED}, links(lab)
    assert masked(after, lab) == masked(before, lab)
    assert {name: link[0] for name, link in last_links.items()} == {name: link[0] for name, link in first_links.items()}
    assert {name for name in last_links if last_links[name][1] == first_links[name][1]} == set()


def masked(found, lab):
    """Without the counters, which go on."""
    value = lab.agent.maps().policy_layout()[1]
    rows = found["cilium_policy_v2_00007"]
    plain = {}
    for key, raw in rows.items():
        row = np.frombuffer(raw, value).copy()
        row["packets"] = row["bytes"] = 0
        plain[key] = row.tobytes()
    return found | {"cilium_policy_v2_00007": plain}


@on_a_node
async def test_while_nothing_is_listed_nothing_is_removed(lab):
    client, stranger, server = await populated(lab)
    tables = lab.tables
    for table in (tables.policies, tables.selector_sets, tables.services):
        for key in list(table.keys()):
            table._rows.pop(key)
    await lab.start(listed=False)
    await lab.applied()
    assert len(contents(lab.agent, "cilium_lb4_services_v2")) == 3
    assert await lab.reaches(client, server)
    assert not await lab.reaches(stranger, server)


LATE = ("nodes", "identities", "admitted", "services", "remote_pods")
NODE, RANGE = 16777300, 16777301  # identities of the other node, and of an address range
GUARDED = f"cilium_policy_v2_{HOST_ENDPOINT:05d}"


async def with_policy_from_every_table(lab):
    """One whose entries come from named ports, the API server's node, a node's identity, and a Service's port."""
    own = dataclasses.replace(OWN, kube_apiserver=True)
    other = dataclasses.replace(OTHER, identity=NODE)
    await lab.start(enable_host_firewall=True, nodes=(own, other))
    tables = lab.tables
    tables.identities.set(400, Identity(400, frozenset({"k8s:io.cilium.k8s.named-ports=web=80/UDP"})))
    tables.admitted.set(NODE, Identity(NODE, frozenset({"reserved:remote-node"})))
    tables.admitted.set(RANGE, Identity(RANGE, frozenset(), prefix=ipaddress.ip_network("198.51.100.0/24")))
    port = ServicePort("https", "TCP", (), (Backend(IP("192.168.50.9"), 7443),))
    tables.services.set(("default", "kubernetes"), Service("default", "kubernetes", (port,)))
    for name, identity in (("ss-subject", 300), ("ss-server", 400), ("ss-api", 7), ("ss-node", NODE)):
        set_selector(lab, name, identity)
    egress = [entry("ss-server", ports=(PortMatch("UDP", name="web"),)), entry("ss-api"), entry("ss-node")]
    rule = PolicyRule("ss-subject", None, PolicyDirection(default_deny=True, entries=tuple(egress)))
    tables.policies.set("cnp.ns.p", Policy("cnp.ns.p", "p", 1, (rule,)))
    deny = PolicyDirection(default_deny=True, entries=())
    tables.policies.set("ccnp.h", Policy("ccnp.h", "h", 1, (PolicyRule("", deny, deny, nodes=("n1",)),)))
    client, server = await lab.add_pod(5, 300), await lab.add_pod(7, 400)
    await lab.applied()
    return own, client, server


@on_a_node
async def test_what_is_listed_late_changes_nothing_before_it_is(lab):
    own, client, server = await with_policy_from_every_table(lab)
    names = ("cilium_lxc", "cilium_ipcache_v2", "cilium_policy_v2_00005", GUARDED)
    before = {name: contents(lab.agent, name) for name in names}
    assert len(before[GUARDED]) > len(before["cilium_policy_v2_00005"]) == 4
    late = {name: dict(getattr(lab.tables, name)._rows) for name in LATE}
    for name in LATE:
        getattr(lab.tables, name)._rows.clear()
    await lab.start(listed=False, nodes=(own,))
    for table in (lab.tables.endpoints, lab.tables.policies, lab.tables.selector_sets):
        table.synced = True
    for name in LATE:
        for key, row in late[name].items():
            await lab.applied()
            assert {name: contents(lab.agent, name) for name in names} == before
            getattr(lab.tables, name).set(key, row)
        getattr(lab.tables, name).synced = True
    await lab.listed()
    assert {name: contents(lab.agent, name) for name in names} == before
    assert await lab.reaches(client, server)


@on_a_node
async def test_what_an_earlier_agent_left_is_corrected_once_everything_is_listed(lab):
    await populated(lab)
    stray(lab, "cilium_lb4_backends_v3")
    stray(lab, "cilium_lxc")
    stray(lab, "cilium_policy_v2_00007")
    await lab.stop()
    lab.tables.endpoints.delete(5)
    ip("route", "add", "10.1.9.0/24", "dev", "seta_vxlan", "proto", "83")
    await lab.start(listed=False)
    await lab.applied()
    assert len(contents(lab.agent, "cilium_lb4_backends_v3")) == 3
    await lab.listed()
    assert len(contents(lab.agent, "cilium_lb4_backends_v3")) == 2
    assert len(contents(lab.agent, "cilium_lxc")) == 4
    assert len(contents(lab.agent, "cilium_policy_v2_00007")) == 2
    assert "cilium_policy_v2_00005" not in lab.agent.maps().names()
    assert "10.1.9.0/24" not in ip("route")
    assert len([name for name in links(lab) if name.startswith("lxc")]) == 4


def stray(lab, name):
    key, value = lab.agent.maps().layout(name)
    opened = Map.pinned(lab.settings.maps_dir / name, key, value)
    keys = np.zeros(1, key)
    keys.view("u1")[0] = 1 if key.names is None or "prefixlen" not in key.names else 40
    opened.update(keys, np.zeros(1, value))
    opened.close()


@on_a_node
async def test_what_strangers_change_is_corrected_while_running(lab):
    client, stranger, server = await populated(lab)
    before = {name: contents(lab.agent, name) for name in FILLED}
    stray(lab, "cilium_lb4_services_v2")
    stray(lab, "cilium_ipcache_v2")
    empty(lab, "cilium_policy_v2_00007")
    empty(lab, "cilium_lxc")
    ip("route", "del", "10.1.1.7")
    for path in lab.settings.links_dir.iterdir():
        path.unlink()
    lab.agent.recheck()
    await lab.applied()
    assert masked({name: contents(lab.agent, name) for name in FILLED}, lab) == masked(before, lab)
    assert "10.1.1.7 dev lxc" in ip("route")
    assert {"ens5_to_netdev", f"{server.endpoint.ifname}_to_container", "cgroup_sock4_connect"} <= links(lab).keys()
    assert await lab.reaches(client, server)
    assert not await lab.reaches(stranger, server)


@on_a_node
async def test_a_native_device_made_anew_gets_its_links(lab):
    await populated(lab)
    before = links(lab)
    for command in (
        "link del ens5",
        "link add ens5 type veth peer name ens5-lan",
        "addr add 192.168.50.1/24 dev ens5",
        "link set ens5 up",
    ):
        ip(*command.split())
    loading = 30.0  # seconds: every program, with another constant
    made = socket.if_nametoindex("ens5")
    await lab.until(lambda: [device.index for device in lab.agent.hooked] == [made], loading)
    assert links(lab)["ens5_from_netdev"][0] != before["ens5_from_netdev"][0]
    await lab.until(lambda: lab.agent.status()["failure"] == "")


@on_a_node
async def test_a_new_address_of_a_native_device_serves_node_ports_at_once(lab):
    await lab.start()
    ip("addr", "add", "192.168.50.77/24", "dev", "ens5")
    await lab.until(lambda: IP("192.168.50.77") in lab.agent._native_addresses())


def empty(lab, name):
    opened = lab.agent.maps().open(name)
    opened.delete(opened.dump()[0])
    opened.close()


@on_a_node
async def test_backends_keep_their_ids(lab):
    await populated(lab)
    before = contents(lab.agent, "cilium_lb4_backends_v3")
    lab.tables.services.set(WEB, service("10.1.2.9", "10.1.2.6", "10.1.2.5"))
    await lab.start()
    after = contents(lab.agent, "cilium_lb4_backends_v3")
    assert before.items() <= after.items()
    assert len(after) == 3


@on_a_node
async def test_a_map_of_another_size_takes_the_entries_over(lab):
    client, stranger, server = await populated(lab)
    before = {name: contents(lab.agent, name) for name in FILLED}
    with Stream(client, server, stranger) as stream:
        await lab.start(bpf_lb_map_max=4096, bpf_ct_global_any_max=8192, bpf_policy_map_max=512)
    assert (stream.received, stream.leaked) == (stream.sent, 0)
    assert masked({name: contents(lab.agent, name) for name in FILLED}, lab) == masked(before, lab)
    for name, size in (
        ("cilium_lb4_services_v2", 4096),
        ("cilium_ct_any4_global", 8192),
        ("cilium_policy_v2_00007", 512),
    ):
        assert lab.agent.maps().open(name).info.max_entries == size
    assert not await lab.reaches(stranger, server)


@on_a_node
async def test_an_endpoint_that_went_while_no_agent_was_there_is_cut_off(lab):
    client, _stranger, server = await populated(lab)
    lab.tables.endpoints._rows.pop(5)
    await lab.start()
    assert not await lab.reaches(client, server)


@on_a_node
async def test_a_label_change_while_no_agent_was_there_is_enforced(lab):
    client, _stranger, server = await populated(lab)
    await lab.stop()
    lab.tables.endpoints._rows[5] = dataclasses.replace(client.endpoint, identity=999)
    await lab.start()
    assert not await lab.reaches(client, server)


@pytest.mark.parametrize("damage", ["verifier", "truncated", "missing"])
@on_a_node
async def test_an_object_that_does_not_load_gives_one_sentence(lab, damage, tmp_path):
    for path in lab.settings.objects.glob("*.bpf.o"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "to_container.bpf.o"
    raw = bytearray(broken.read_bytes())
    if damage == "verifier":
        section = next(section for section in Elf(broken).sections if section.name == "tc")
        raw[section.offset : section.offset + 8] = b"\x95" + bytes(7)  # exit before r0 is set
    broken.unlink()
    if damage != "missing":
        broken.write_bytes(raw if damage == "verifier" else raw[:200])
    await lab.start()
    before = lab.agent.maps().open("cilium_ct4_global").info
    with pytest.raises(ProgrammingError, match=r"to_container\.bpf\.o") as caught:
        await lab.start(objects=tmp_path, bpf_ct_global_tcp_max=1000)
    await lab.start(objects=Settings().objects, bpf_ct_global_tcp_max=before.max_entries)
    assert lab.agent.maps().open("cilium_ct4_global").info.id == before.id
    assert "\n" not in str(caught.value)


@on_a_node
async def test_without_a_bpffs_there_is_one_sentence(lab, tmp_path):
    with pytest.raises(ProgrammingError, match="is no bpffs: mount it"):
        await lab.start(bpf_root=tmp_path)


@on_a_node
async def test_a_node_without_a_pod_cidr_asks_for_the_operator(lab):
    with pytest.raises(ProgrammingError, match="n9 has no pod CIDR yet"):
        await lab.start(node_name="n9")


@on_a_node
async def test_a_cgroup_that_is_none_is_named(lab, tmp_path):
    with pytest.raises(ProgrammingError, match=r"is no cgroup2: correct Helm value cgroup\.hostRoot"):
        await lab.start(cgroup_root=str(tmp_path))


@on_a_node
async def test_socket_load_balancing_can_be_switched_off(lab):
    await populated(lab)
    assert "cgroup_sock4_connect" in links(lab)
    await lab.start(bpf_lb_sock=False)
    assert not any(name.startswith("cgroup_") for name in links(lab))
    assert len(contents(lab.agent, "cilium_lb4_services_v2")) == 3
