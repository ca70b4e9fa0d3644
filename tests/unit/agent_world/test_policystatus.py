"""What the kernel enforces in, one object per node out."""

import asyncio
import dataclasses

from seta_agent import policystatus
from seta_agent.kube import KubeError
from seta_agent.tables import Tables
from tests.unit.agent_world.world import NODE, node

ROW = dataclasses.replace(node(), uid="node-uid")


class Server:
    def __init__(self):
        self.written = []  # (path, object)
        self.down = False

    async def apply(self, path, body, manager):  # noqa: ARG002
        if self.down:
            raise KubeError(0, "connection refused")
        self.written.append((path, body))
        return body


class Report:
    def __init__(self, monkeypatch, enforced=None):
        monkeypatch.setattr(policystatus, "INTERVAL_SECONDS", 0)
        monkeypatch.setattr(policystatus, "RETRY_SECONDS", 0)
        self.tables, self.server, self.enforced = Tables(), Server(), enforced
        self.tables.nodes.set(NODE, ROW)
        self.writer = policystatus.PolicyStatusWriter(self.tables, self.server, NODE, lambda: self.enforced)
        self.task = asyncio.create_task(self.writer.run())

    def now(self, enforced):
        self.enforced = enforced
        self.writer.changed.fire()

    async def settled(self):
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def last(self):
        return self.server.written[-1][1].get("status", {}).get("enforced", {})


async def test_the_object_is_the_nodes_and_goes_with_it(monkeypatch):
    report = Report(monkeypatch, {"cnp.b.y": 2, "cnp.a.x": 1})
    await report.settled()
    assert report.server.written == [
        (
            f"/apis/seta.dev/v1alpha1/nodepolicystatuses/{NODE}",
            {
                "apiVersion": "seta.dev/v1alpha1",
                "kind": "NodePolicyStatus",
                "metadata": {
                    "name": NODE,
                    "ownerReferences": [
                        {"apiVersion": "cilium.io/v2", "kind": "CiliumNode", "name": NODE, "uid": "node-uid"}
                    ],
                },
                "status": {"enforced": {"cnp.a.x": 1, "cnp.b.y": 2}},
            },
        )
    ]


async def test_many_changes_are_one_write(monkeypatch):
    report = Report(monkeypatch, {})
    await report.settled()
    for number in range(250):
        report.now({f"cnp.a.p{one}": 1 for one in range(number + 1)})
    await report.settled()
    assert len(report.server.written) == 2
    assert len(report.last) == 250


async def test_what_changes_nothing_writes_nothing(monkeypatch):
    report = Report(monkeypatch, {"cnp.a.x": 1})
    await report.settled()
    report.now({"cnp.a.x": 1})
    await report.settled()
    assert len(report.server.written) == 1


async def test_nothing_is_said_before_policies_are_known(monkeypatch):
    report = Report(monkeypatch)
    await report.settled()
    assert report.server.written == []
    report.now({})
    await report.settled()
    assert report.last == {}


async def test_what_failed_is_written_later(monkeypatch):
    report = Report(monkeypatch)
    report.server.down = True
    report.now({"cnp.a.x": 1})
    await report.settled()
    report.server.down = False
    await report.settled()
    assert report.last == {"cnp.a.x": 1}


async def test_a_node_that_is_only_remembered_owns_nothing_yet(monkeypatch):
    report = Report(monkeypatch, {"cnp.a.x": 1})
    report.tables.nodes.set(NODE, node())
    await report.settled()
    assert report.server.written == []
    report.tables.nodes.set(NODE, ROW)
    await report.settled()
    assert report.last == {"cnp.a.x": 1}
