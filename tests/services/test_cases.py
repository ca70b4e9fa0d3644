"""Services, EndpointSlices, Nodes and Pods in; ServiceTables and each node's LB maps out. One file per case.

A case: `about` (a sentence), `settings` (ConfigMap keys), `devices` (node -> further addresses of its devices),
`cluster` (nodes of nodes.yaml; all three where it says nothing), `objects`; and what must come of it: `tables`
(namespace/name -> lines) and `maps` (names of nodes that are alike -> lines).

Everything is level-based, so what a case ends in must not hang on the way: objects in every order, one after the
other; from the state of any other case; after a restart of everybody. And when all objects are gone, nothing is left.
(Of endpoints that are not ready it does matter whether they ever were: see test_not_ready.py. A case has none of which
another case says that it is ready.)

Write an expectation with SETA_WRITE_CASES=1, then read it.
"""

import functools
import os
import pathlib
import random

import pytest
import yaml

from seta_agent.desired import lbids
from tests.services import render
from tests.services.world import World

DIRECTORY = pathlib.Path(__file__).parent
CASES = sorted((DIRECTORY / "cases").glob("*.yaml"), key=lambda path: path.stem)
ORDERS = 3
SEED = 20261123
OUT = ("tables", "maps")


@functools.cache
def nodes():
    return {one["metadata"]["name"]: one for one in yaml.safe_load((DIRECTORY / "nodes.yaml").read_text())}


@functools.cache
def read(path):
    return yaml.safe_load(path.read_text())


def objects(case):
    return [nodes()[name] for name in case.get("cluster", nodes())] + case["objects"]


def fresh(case):
    world = World()
    world.start(case.get("settings", {}), case.get("devices", {}))
    return world


def seen(world):
    """What came of it, as a case has it."""
    tables = world.service_tables()
    found = {"/".join(key): list(render.table(body)) for key, body in sorted(tables.items())}
    of_nodes = {name: list(render.maps(agent.kernel)) for name, agent in sorted(world.agents.items())}
    alike = {}  # lines -> nodes
    for name, lines in of_nodes.items():
        alike.setdefault(tuple(lines), []).append(name)
    given = render.numbers(tables.values())
    assert all(1 <= number <= 60000 for number in given.values())
    return {"tables": found, "maps": {" ".join(names): list(lines) for lines, names in alike.items()}}


def wanted(case):
    return {key: case[key] for key in OUT}


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def case(request):
    found = read(request.param)
    if os.environ.get("SETA_WRITE_CASES") and not set(OUT) <= found.keys():
        world = fresh(found)
        for item in objects(found):
            world.apply(item)
        world.settle()
        text = yaml.safe_dump(seen(world), sort_keys=False, width=10_000)
        request.param.write_text(request.param.read_text().rstrip("\n") + "\n" + text)
        read.cache_clear()
        return read(request.param)
    return found


def test_all_at_once(case):
    world = fresh(case)
    for item in objects(case):
        world.apply(item)
    world.settle()
    assert seen(world) == wanted(case)


def test_one_by_one_in_any_order(case):
    for turn in range(ORDERS):
        world, items = fresh(case), objects(case)
        random.Random(SEED + turn).shuffle(items)
        for item in items:
            world.apply(item)
            world.settle()
        assert seen(world) == wanted(case), f"order {[one['metadata']['name'] for one in items]}"


def test_from_the_state_of_another_case(case):
    """Objects of one name are changed into these, others deleted, and settings changed by a restart."""
    others = random.Random(case["about"]).sample(CASES, ORDERS)
    for other in map(read, others):
        world = fresh(other)
        for item in objects(other):
            world.apply(item)
        world.settle()
        world.start(case.get("settings", {}), case.get("devices", {}))
        for change in _changes(objects(other), objects(case)):
            change(world)
            world.settle()
        assert seen(world) == wanted(case), f"after: {other['about']}"


def _changes(before, after):
    """What makes one set of objects the other, in some order."""
    kept = {_name(item) for item in after}
    found = [functools.partial(World.delete, item=item) for item in before if _name(item) not in kept]
    found += [functools.partial(World.apply, item=item) for item in after]
    random.Random(SEED).shuffle(found)
    return found


def _name(item):
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def test_restarts_change_nothing(case):
    world = fresh(case)
    for item in objects(case):
        world.apply(item)
    world.settle()
    writes = world.bench.writer.writes
    world.start(case.get("settings", {}), case.get("devices", {}))
    changed = world.settle()
    tables = sum(len(tables) for agent in world.agents.values() for tables in agent.kernel.tables.values())
    assert changed == tables, "only Maglev tables are made again"
    assert world.bench.writer.writes == writes
    assert seen(world) == wanted(case)


def test_nothing_is_left_when_everything_is_gone(case):
    world = fresh(case)
    items = objects(case)
    for item in items:
        world.apply(item)
    world.settle()
    random.Random(SEED).shuffle(items)
    for item in sorted(items, key=lambda one: one["kind"] == "Node"):  # agents need their nodes to clean up
        if item["kind"] == "Node":
            break
        world.delete(item)
        world.settle()
    assert world.service_tables() == {}
    for agent in world.agents.values():
        assert not any(one.content for one in agent.kernel.maps.values())
        assert not any(agent.kernel.tables.values())


def test_there_are_enough_cases():
    assert len(CASES) >= 80
    sentences = [read(path)["about"] for path in CASES]
    assert len(set(sentences)) == len(sentences)


def test_a_service_that_lacked_a_number_of_the_node_gets_it_when_another_goes(monkeypatch):
    monkeypatch.setattr(lbids, "LAST", lbids.FIRST)
    case = read(DIRECTORY / "cases/nodeport-further-addresses.yaml")
    world = World()
    world.start({}, {"a": ["192.0.2.9"]})
    (service, _) = case["objects"]
    second = {**service, "metadata": {"name": "zoo"}, "spec": {**service["spec"], "clusterIPs": ["10.96.0.2"]}}
    second["spec"]["ports"] = [{"port": 80, "nodePort": 30081}]
    for item in (nodes()["a"], service, second):
        world.apply(item)
        world.settle()
    assert places(world) == ["192.0.2.9:30080", "192.168.1.1:30080", "192.168.1.1:30081"]
    world.delete(service)
    world.settle()
    world.settle()
    assert places(world) == ["192.0.2.9:30081", "192.168.1.1:30081"]


def places(world):
    lines = render.maps(world.agents["a"].kernel)
    return [line.partition("/")[0] for line in lines if line.startswith("192.")]
