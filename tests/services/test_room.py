"""Maps that are too small: what fits works, what does not is told, and comes in when there is room."""

import pytest

from tests.services.test_cases import nodes
from tests.services.world import World

ROOM = 8  # entries of the services' map: two services of three backends, and nothing more


def service(name, number, **spec):
    address = f"10.96.0.{number}"
    body = {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 80}], **spec}
    return {"kind": "Service", "metadata": {"name": name}, "spec": body}


def endpoints(name, *addresses):
    meta = {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}}
    listed = [{"addresses": [one], "nodeName": "a", "conditions": {"ready": True}} for one in addresses]
    return {"kind": "EndpointSlice", "metadata": meta, "ports": [{"port": 8080}], "endpoints": listed}


@pytest.fixture
def world():
    made = World()
    made.start({}, {})
    made.apply(nodes()["a"])
    made.settle()
    made.agents["a"].kernel.maps["cilium_lb4_services_v2"].max_entries = ROOM
    return made


def settle(world):
    """As often as the stage wakes itself."""
    while world.settle():
        pass


def served(world):
    """Service address -> slots of its front."""
    rows = world.agents["a"].kernel.rows("cilium_lb4_services_v2")
    return {int(key["address"]) & 0xFF: int(row["count"]) for key, row in rows if key["backend_slot"] == 0}


def three(number):
    return [f"10.0.{number}.{n}" for n in (1, 2, 3)]


def test_what_fits_is_served_and_the_rest_follows_when_there_is_room(world):
    for number, name in enumerate(("a", "b", "c"), 1):
        world.apply(service(name, number))
        world.apply(endpoints(name, *three(number)))
    settle(world)
    assert served(world) == {1: 3, 2: 3}
    assert world.agents["a"].stage.left_out == 1
    world.delete(service("a", 1))
    settle(world)
    settle(world)
    assert served(world) == {2: 3, 3: 3}
    assert world.agents["a"].stage.left_out == 0


def test_a_smaller_service_fits_where_a_larger_one_does_not(world):
    for number, name in enumerate(("a", "b"), 1):
        world.apply(service(name, number))
        world.apply(endpoints(name, *three(number)))
    world.apply(service("c", 3))
    world.apply(endpoints("c", "10.0.3.1"))
    world.delete(endpoints("b", *three(2)))
    settle(world)
    assert served(world) == {1: 3, 2: 0, 3: 1}


def test_a_service_that_grows_beyond_what_there_is_keeps_what_it_has(world):
    for number, name in enumerate(("a", "b"), 1):
        world.apply(service(name, number))
        world.apply(endpoints(name, *three(number)))
    settle(world)
    world.apply(endpoints("b", *three(2), "10.0.2.4"))
    settle(world)
    assert served(world) == {1: 3, 2: 3}
    world.apply(endpoints("a", "10.0.1.1"))
    settle(world)
    settle(world)
    assert served(world) == {1: 1, 2: 4}


def test_a_full_map_can_be_exchanged_whole(world):
    for number, name in enumerate(("a", "b"), 1):
        world.apply(service(name, number))
        world.apply(endpoints(name, *three(number)))
    settle(world)
    for number, name in enumerate(("a", "b"), 1):
        world.delete(service(name, number))
        world.apply(service(f"new-{name}", number + 10))
        world.apply(endpoints(f"new-{name}", *three(number)))
    settle(world)
    settle(world)
    assert served(world) == {11: 3, 12: 3}
