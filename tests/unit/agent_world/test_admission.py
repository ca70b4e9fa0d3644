"""Identities of address ranges and nodes in, those that may be used out."""

import asyncio
import ipaddress

from seta_agent.cni.admission import Admission
from seta_agent.tables import Identity
from seta_crds import names
from tests.unit.agent_world.world import World, selector_set

RANGE = Identity(
    16777217, frozenset({"cidr:10.0.0.0/8", "reserved:world"}), ("ss-a",), ipaddress.ip_network("10.0.0.0/8")
)


class Gate:
    def __init__(self, directory, *, listed=True):
        self.world = World(directory)
        self.tables = self.world.tables
        self.admission = Admission(self.tables, self.world.resolver)
        self.tables.identities.synced = self.tables.selector_sets.synced = listed

    @property
    def admitted(self):
        return sorted(self.tables.admitted.keys())

    async def until(self, numbers):
        running = asyncio.create_task(self.admission.run())
        async with asyncio.timeout(5):
            while self.admitted != numbers:  # noqa: ASYNC110 - a table, and tasks that take a few turns
                await asyncio.sleep(0)
        running.cancel()


async def test_a_range_waits_for_its_sets(tmp_path):
    gate = Gate(tmp_path)
    gate.world.api.down = True
    gate.tables.identities.set(RANGE.id, RANGE)
    gate.admission.step()
    await asyncio.sleep(0)
    assert (gate.admitted, gate.tables.admitted.synced) == ([], True)
    gate.tables.selector_sets.set("ss-a", selector_set("ss-a", RANGE.id))
    await gate.until([RANGE.id])


async def test_a_set_that_is_gone_by_now_holds_nobody_back(tmp_path):
    gate = Gate(tmp_path)
    gate.tables.identities.set(RANGE.id, RANGE)
    await gate.until([RANGE.id])
    assert names.SELECTOR_SET.path(name="ss-a") in gate.world.api.asked


async def test_a_range_that_is_gone_goes(tmp_path):
    gate = Gate(tmp_path)
    gate.tables.selector_sets.set("ss-a", selector_set("ss-a", RANGE.id))
    gate.tables.identities.set(RANGE.id, RANGE)
    await gate.until([RANGE.id])
    gate.tables.identities.delete(RANGE.id)
    await gate.until([])


async def test_pods_identities_are_not_its_business(tmp_path):
    gate = Gate(tmp_path)
    gate.admission.step()
    assert gate.admitted == []


async def test_nothing_is_said_before_everything_is_listed(tmp_path):
    gate = Gate(tmp_path, listed=False)
    gate.tables.identities.set(RANGE.id, RANGE)
    gate.admission.step()
    assert (gate.admitted, gate.tables.admitted.synced) == ([], False)
