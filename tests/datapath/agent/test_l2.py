"""Announced addresses on a real device: who asks on the wire, what is heard there, and when it ends."""

import asyncio
import contextlib
import dataclasses
import socket
import time

from scapy.layers.l2 import ARP, Ether

from seta_agent.l2.holder import boot_time
from seta_agent.l2.service import L2Announcements
from tests.datapath.agent.conftest import on_a_node
from tests.datapath.agent.lab import OWN, SECONDS
from tests.datapath.agent.test_programmer import contents, ip
from tests.unit.agent_world.l2world import Server, service

VIP, OTHER_VIP, ASKER = "10.10.200.1", "10.10.200.2", "10.10.200.254"
QUICK = {
    "enable_l2_announcements": True,
    "l2_announcements_lease_duration": 2.0,
    "l2_announcements_renew_deadline": 0.6,
    "l2_announcements_retry_period": 0.2,
}
ASK_SECONDS = 0.1  # how long an answer may take
MAC = "02:00:00:00:00:99"


class Clock:
    """The machine's own; nobody turns it."""

    def __call__(self):
        return boot_time()

    def turn(self, seconds):
        assert seconds == 0


class Wire:
    """The other end of the node's device."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        self._socket.bind(("ens5-lan", 0))
        self._socket.settimeout(0)

    def close(self):
        self._socket.close()

    async def answers(self, address):
        """Whether somebody says, within a moment, that the address is his."""
        self.heard()
        question = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc=ASKER, pdst=address)
        self._socket.send(bytes(question))
        deadline = time.monotonic() + ASK_SECONDS
        while time.monotonic() < deadline:
            if any(frame[ARP].op == 2 and frame[ARP].psrc == address for frame in self.heard()):
                return True
            await asyncio.sleep(0.001)
        return False

    def heard(self):
        """What has come from the node since the last time."""
        frames = []
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                data, (_, _, kind, *_) = self._socket.recvfrom(2048)
                frames += [Ether(data)] if kind != socket.PACKET_OUTGOING else []
        return frames


class Announcing:
    """L2 announcements of a lab's agent, and the API server that they speak to."""

    def __init__(self, lab, server=None):
        self.lab, self.server = lab, server or Server(Clock(), OWN.name)
        self.wire = None
        self.task = None

    async def __aenter__(self):
        await self.lab.start(**QUICK)
        self.lab.tables.nodes.set(OWN.name, _with_uid())
        self.wire = Wire()
        self.start()
        return self

    async def __aexit__(self, *_):
        await self.kill()
        self.wire.close()

    def start(self):
        self.l2 = L2Announcements(self.lab.settings, self.lab.tables, self.server, self.lab.agent)
        self.task = asyncio.create_task(self.l2.run())

    async def kill(self):
        """As a kill does: nothing is said or done any more."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        self.l2._closing.close()

    async def until(self, fact, within=SECONDS):
        deadline = time.monotonic() + within
        while not fact():
            assert time.monotonic() < deadline, self.l2.describe()
            assert not self.task.done(), self.task.result()
            await asyncio.sleep(0.001)
        return time.monotonic()

    def entries(self):
        return contents(self.lab.agent, "cilium_l2_responder_v4")


def _with_uid():
    return dataclasses.replace(OWN, uid="uid")


@on_a_node
async def test_an_announced_address_is_answered_for_with_the_devices_mac(lab):
    async with Announcing(lab) as node:
        assert not await node.wire.answers(VIP)
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        assert await node.wire.answers(VIP)
        assert not await node.wire.answers(OTHER_VIP)
        assert node.server.told["interfaces"] == {"ens5": True}


@on_a_node
async def test_an_address_that_is_taken_over_is_told_three_times(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        await asyncio.sleep(1.5)
        mac = ip("link", "show", "ens5").split("link/ether ")[1].split()[0]
        told = [frame for frame in node.wire.heard() if frame[ARP].psrc == frame[ARP].pdst == VIP]
        assert [(frame.src, frame[ARP].hwsrc, frame[ARP].op) for frame in told] == [(mac, mac, 1), (mac, mac, 2)] * 3


@on_a_node
async def test_a_device_without_carrier_loses_its_entries_at_once(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP), service("api", OTHER_VIP))
        await node.until(lambda: len(node.entries()) == 2)
        renewals = len(node.server.leases)
        down = time.monotonic()
        ip("link", "set", "ens5-lan", "down")
        gone = await node.until(lambda: not node.entries()) - down
        told = await node.until(lambda: node.server.told["interfaces"] == {"ens5": False}) - down
        assert (gone < 0.1, told < 0.15) == (True, True), (gone, told, len(node.server.leases) - renewals)
        ip("link", "set", "ens5-lan", "up")
        await node.until(lambda: len(node.entries()) == 2)
        assert await node.wire.answers(VIP)


@on_a_node
async def test_a_device_taken_down_or_deleted_is_told(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        ip("link", "set", "ens5", "down")
        await node.until(lambda: not node.entries())
        ip("link", "set", "ens5", "up")
        await node.until(node.entries)
        ip("link", "del", "ens5")
        await node.until(lambda: not node.entries())
        await node.until(lambda: node.server.told["interfaces"] == {"ens5": False})


@on_a_node
async def test_a_device_made_anew_announces_once_the_programs_hang_on_it(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        ip("link", "del", "ens5")
        await node.until(lambda: not node.entries())
        for command in ("link add ens5 type veth peer name ens5-lan", "link set ens5 up", "link set ens5-lan up"):
            ip(*command.split())
        ip("addr", "add", "192.168.50.1/24", "dev", "ens5")
        await node.until(node.entries, 6 * SECONDS)  # every program is loaded anew
        node.wire.close()
        node.wire = Wire()
        assert await node.wire.answers(VIP)


@on_a_node
async def test_answers_end_at_the_deadline_when_the_heartbeat_cannot_be_renewed(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        node.server.down = True
        lost = time.monotonic()
        assert await node.wire.answers(VIP)
        ended = await node.until(lambda: not node.entries()) - lost
        assert 0.3 < ended < 0.7
        assert not await node.wire.answers(VIP)
        node.server.down = False
        await node.until(node.entries)
        assert await node.wire.answers(VIP)


@on_a_node
async def test_a_killed_agent_answers_until_the_deadline_and_the_next_one_at_once(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        await node.kill()
        assert await node.wire.answers(VIP)
        await asyncio.sleep(0.6)
        assert node.entries()
        assert not await node.wire.answers(VIP)
        node.start()
        await node.until(lambda: node.l2.describe().get("answers"))
        assert await node.wire.answers(VIP)


@on_a_node
async def test_a_replaced_agent_leaves_no_gap(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        told = len(node.server.leases)
        node.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await node.task
        await node.l2.end(uninstalled=False)
        assert len(node.server.leases) == told + 1
        unanswered = 0
        begin = time.monotonic()
        while time.monotonic() < begin + 2.2:
            if node.task.done() and time.monotonic() > begin + 1.0:
                node.start()
            unanswered += not await node.wire.answers(VIP)
        assert unanswered == 0


@on_a_node
async def test_an_agent_that_is_uninstalled_is_silent_at_once(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        node.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await node.task
        await node.l2.end(uninstalled=True)
        assert not await node.wire.answers(VIP)
        assert node.entries() == {}


@on_a_node
async def test_with_announcements_turned_off_what_was_announced_ends_at_once(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", VIP))
        await node.until(node.entries)
        await node.kill()
        off = L2Announcements(
            lab.settings.model_copy(update={"enable_l2_announcements": False}), lab.tables, node.server, lab.agent
        )
        await off.run()
        assert node.entries() == {}
        assert not await node.wire.answers(VIP)
        assert off.describe() == {"enabled": False}
        await off.end(uninstalled=False)


@on_a_node
async def test_for_ipv6_the_node_joins_the_groups_in_which_neighbours_ask(lab):
    async with Announcing(lab) as node:
        node.server.announce(service("web", "fd00::1:2:c8"))
        await node.until(lambda: "ff02::1:ff02:c8" in ip("maddr", "show", "dev", "ens5"))
        node.server.announce(generation=2)
        await node.until(lambda: "ff02::1:ff02:c8" not in ip("maddr", "show", "dev", "ens5"))
