"""Services of every kind on real maps: written, changed, kept over a restart, and gone."""

import asyncio
import dataclasses
import ipaddress
import subprocess

import numpy as np

from seta_agent.desired import lb, lbids
from seta_agent.tables import Backend, Frontend, HostPort, Pod, Service, ServicePort
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import IP

WEB = ("ns", "web")
TABLES = [names.maglev for names in lb.FAMILIES]
SERVICES = "cilium_lb4_services_v2"


def service(*addresses, **changes):
    """A balancer that asks for all there is, of both families."""
    backends = tuple(Backend(IP(address), 8080, node="n1") for address in addresses)
    fronts = (
        Frontend(17, "ClusterIP", IP("10.96.0.10"), 80),
        Frontend(18, "NodePort", IP("0.0.0.0"), 30080),
        Frontend(19, "LoadBalancer", IP("10.10.200.1"), 80),
        Frontend(20, "LoadBalancer", IP("2001:db8::1"), 80),
    )
    ranges = tuple(map(ipaddress.ip_network, ("203.0.113.0/24", "2001:db8:7::/48")))
    options = {"external_local": True, "affinity_seconds": 60, "source_ranges": ranges, "algorithm": "maglev"} | changes
    return Service(*WEB, (ServicePort("http", "TCP", fronts, backends),), type="LoadBalancer", **options)


def contents(lab):
    """Map -> key -> value; of maps of tables the ids of those."""
    found = {}
    for name in (*lb.MAPS, *TABLES):
        keys, values = lab.agent.dump_map(name)
        found[name] = dict(zip([key.tobytes() for key in keys], [value.tobytes() for value in values], strict=True))
    return found


def fronts(lab):
    """Address:port -> reverse NAT index, of what is seen from outside."""
    keys, values = lab.agent.dump_map(SERVICES)
    own = (keys["backend_slot"] == 0) & (keys["scope"] == 0)
    numbers = [int(value["rev_nat_index"]) for value in values[own]]
    places = [f"{at}:{int(key['dport'])}" for at, key in zip(lb.addresses(keys[own]), keys[own], strict=True)]
    return dict(zip(places, numbers, strict=True))


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def many(count):
    """(namespace, name) -> a service with a Maglev table of its own."""
    rows = {}
    for number in range(count):
        backend = Backend(IP(f"10.1.2.{number % 250}"), 8000 + number, node="n2")
        front = Frontend(100 + number, "NodePort", IP("0.0.0.0"), 30100 + number)
        port = ServicePort("http", "TCP", (front,), (backend,))
        rows["ns", f"s{number}"] = Service("ns", f"s{number}", (port,), type="NodePort", algorithm="maglev")
    return rows


@on_a_node
async def test_with_a_full_map_a_restart_keeps_the_services_that_had_room(lab):
    await lab.start(bpf_lb_map_max=256)
    rows = many(300)
    for key in sorted(rows, reverse=True)[:60]:
        lab.tables.services.set(key, rows[key])
    await lab.applied()
    served = fronts(lab)
    for key, row in rows.items():
        lab.tables.services.set(key, row)
    await lab.applied()
    before = fronts(lab)
    assert served.items() < before.items()
    assert lab.agent.status()["services_left_out"] > 0
    await lab.start()
    assert fronts(lab) == before


@on_a_node
async def test_others_have_their_turn_while_maglev_tables_are_made(lab):
    await lab.start(bpf_lb_maglev_table_size=251)
    for key, row in many(400).items():
        lab.tables.services.set(key, row)
    before, turns = lab.agent.status()["passes"], []
    while len(lab.agent.dump_map("cilium_lb4_maglev")[0]) < 400:
        turns.append(lab.agent.status()["passes"] - before)
        await asyncio.sleep(0)
    assert {1, 2, 3, 4} <= set(turns)  # after each pass, which makes 64 of them
    for key in many(400):
        lab.tables.services.delete(key)
    await lab.applied()
    assert not len(lab.agent.dump_map("cilium_lb4_maglev")[0])


@on_a_node
async def test_all_that_a_balancer_asks_for_is_in_the_maps_and_goes_with_it(lab):
    await lab.start()
    lab.tables.services.set(WEB, service("10.1.1.5", "10.1.2.6", "2001:db8:1::5"))
    await lab.applied()
    found = contents(lab)
    assert fronts(lab) == {"10.96.0.10:80": 17, "0.0.0.0:30080": 18, "192.168.50.1:30080": 18, "10.10.200.1:80": 19}
    assert {name: len(entries) for name, entries in found.items()} == {
        "cilium_lb_affinity_match": 3 * 2 + 1,
        "cilium_lb4_services_v2": 4 * 3,
        "cilium_lb4_backends_v3": 2,
        "cilium_lb4_reverse_nat": 3,
        "cilium_lb4_source_range": 1,
        "cilium_lb6_services_v2": 2,
        "cilium_lb6_backends_v3": 1,
        "cilium_lb6_reverse_nat": 1,
        "cilium_lb6_source_range": 1,
        "cilium_lb4_maglev": 2,
        "cilium_lb6_maglev": 1,
    }
    lab.tables.services.delete(WEB)
    await lab.applied()
    assert not any(contents(lab).values())


@on_a_node
async def test_a_table_is_replaced_when_its_backends_change_and_only_then(lab):
    await lab.start()
    lab.tables.services.set(WEB, service("10.1.1.5", "10.1.1.6"))
    await lab.applied()
    (before,) = set(contents(lab)["cilium_lb4_maglev"].values())  # the frontends share one
    lab.tables.services.set(WEB, service("10.1.1.5", "10.1.1.6", affinity_seconds=7))
    await lab.applied()
    assert set(contents(lab)["cilium_lb4_maglev"].values()) == {before}
    lab.tables.services.set(WEB, service("10.1.1.5"))
    await lab.applied()
    (after,) = set(contents(lab)["cilium_lb4_maglev"].values())
    assert after != before


@on_a_node
async def test_entries_and_numbers_stay_over_a_restart(lab):
    await lab.start()
    ip("addr", "add", "192.168.50.77/24", "dev", "ens5")
    lab.agent.recheck()
    lab.tables.services.set(WEB, service("10.1.1.5", "10.1.2.6"))
    lab.tables.services.set(("ns", "api"), dataclasses.replace(service("10.1.1.9"), name="api", ports=()))
    await lab.applied()
    before, numbers = contents(lab), fronts(lab)
    assert numbers["192.168.50.77:30080"] >= lbids.FIRST
    await lab.start()
    after = contents(lab)
    for name in lb.MAPS:
        assert after[name] == before[name]
    assert [after[name].keys() for name in TABLES] == [before[name].keys() for name in TABLES]


@on_a_node
async def test_what_went_while_the_agent_was_away_is_removed(lab):
    await lab.start()
    lab.tables.services.set(WEB, service("10.1.1.5", "2001:db8:1::5"))
    await lab.applied()
    await lab.stop()
    lab.tables.services.delete(WEB)
    await lab.start(listed=False)
    assert any(contents(lab).values())
    for table in vars(lab.tables).values():
        table.synced = True
    await lab.until(lambda: lab.agent.synced)
    assert not any(contents(lab).values())


@on_a_node
async def test_a_strangers_changes_are_corrected(lab):
    await lab.start()
    lab.tables.services.set(WEB, service("10.1.1.5", "10.1.2.6"))
    await lab.applied()
    before = contents(lab)
    for name in (SERVICES, "cilium_lb4_maglev", "cilium_lb4_source_range", "cilium_lb_affinity_match"):
        opened = lab.agent.maps().open(name)
        for key in before[name]:
            opened.remove(key)
        opened.close()
    lab.agent.recheck()
    await lab.applied()
    after = contents(lab)
    assert [after[name] for name in lb.MAPS] == [before[name] for name in lb.MAPS]
    assert after["cilium_lb4_maglev"].keys() == before["cilium_lb4_maglev"].keys()


@on_a_node
async def test_a_host_port_comes_and_goes_with_its_pod(lab):
    await lab.start()
    ports = (HostPort(None, 8080, 80, "TCP"), HostPort(IP("127.0.0.1"), 8081, 80, "TCP"))
    lab.tables.pods.set(("ns", "pod7"), Pod("ns", "pod7", "uid", {}, "default", host_ports=ports))
    pod = await lab.add_pod(7)
    await lab.applied()
    assert fronts(lab).keys() == {"192.168.50.1:8080", "0.0.0.0:8080", "127.0.0.1:8081"}
    _, values = lab.agent.dump_map("cilium_lb4_backends_v3")
    assert lb.addresses(np.asarray(values)) == [pod.endpoint.ipv4]
    lab.tables.endpoints.delete(7)
    await lab.applied()
    assert fronts(lab) == {}
