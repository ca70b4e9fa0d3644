"""One process's round of service_scale, the agent's part: `python -m tests.bench.service_run COUNT`; root only.

What of an agent deals with services, on maps of the kernel that nobody else uses. The last line is JSON.
"""

import ipaddress
import json
import logging
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import structlog

import seta_agent
from seta_agent.bpf import syscall
from seta_agent.bpf.btf import Btf, MapLayout
from seta_agent.bpf.maps import Map
from seta_agent.desired.lbnode import NodeView
from seta_agent.programmer.kernelmaps import KernelMaps
from seta_agent.programmer.maps import MapReconciler
from seta_agent.programmer.outermaps import OuterMap
from seta_agent.programmer.services import ServiceStage
from seta_agent.settings import Settings
from seta_agent.tables import Tables
from seta_agent.watch import services
from tests.bench import service_objects as objects

OBJECTS = pathlib.Path(seta_agent.__file__).parent / "objects"
VIEW = NodeView("node-1", "zone-1", (ipaddress.ip_address("192.168.1.1"),))
MAGLEV = NodeView("node-1", "zone-1", VIEW.addresses, algorithm="maglev")
TABLES = 1000  # services with a Maglev table
ENTRIES = 1 << 18


class Maps:
    """Quacks like KernelMaps: maps of the shipped layouts, without pins."""

    def __init__(self, settings: Settings) -> None:
        self._layouts = {one.name: one for name in ("from_netdev", "sock") for one in _maps(name)}
        self._reconcilers: dict[str, MapReconciler] = {}
        self._table_bytes = 4 * settings.bpf_lb_maglev_table_size
        self._fds: dict[str, int] = {}

    def layout(self, name: str) -> Any:
        return self._layouts[name].key, self._layouts[name].value

    def reconciler(self, name: str) -> MapReconciler:
        if name not in self._reconcilers:
            one = self._layouts[name]
            sizes = (one.key_size, one.value_size, ENTRIES)
            fd = self._fds.get(name) or syscall.map_create(one.kind, name, *sizes, flags=one.flags)
            self._fds[name] = fd
            self._reconcilers[name] = MapReconciler(Map(os.dup(fd), one.key, one.value))
            self._reconcilers[name].read()
        return self._reconcilers[name]

    def outer(self, name: str) -> OuterMap:
        one = self._layouts[name]
        inner = syscall.map_create(syscall.ARRAY, "inner", 4, self._table_bytes, 1)
        made = syscall.map_create(one.kind, name, one.key_size, 4, ENTRIES, flags=one.flags, inner_fd=inner)
        found = OuterMap.__new__(OuterMap)
        found._map, found.installed = Map(made, one.key, np.dtype("u4")), {}
        os.close(inner)
        return found

    new_table = staticmethod(KernelMaps.new_table)

    def restarted(self) -> None:
        self._reconcilers.clear()


class Agent:
    def __init__(self, maps: Maps, settings: Settings) -> None:
        self.maps, self.tables = maps, Tables()
        self.woken = False
        self._stage = ServiceStage(settings, self.tables, self._wake)
        self._stage.restore(maps)  # type: ignore[arg-type]  # quacks
        for table in (self.tables.pods, self.tables.endpoints):
            table.synced = True

    def _wake(self) -> None:
        self.woken = True

    def listed(self, text: str) -> None:
        """A listing as the API server answers it."""
        items = json.loads(text)["items"]
        self.tables.services.replace({services.service_key(one): services.service(one) for one in items})

    def changed(self, text: str) -> None:
        item = json.loads(text)
        self.tables.services.set(services.service_key(item), services.service(item))

    def applied(self, view: NodeView = VIEW) -> int:
        """Everything that is due: how many entries changed."""
        found, self.woken = 0, True
        while self.woken:
            self.woken = False
            found += self._stage.apply(self.maps, view)  # type: ignore[arg-type]  # quacks
        return found


class Steps:
    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def step(self, name: str, work: Callable[[], int], goal: str = "") -> None:
        before, started = _resident(), time.process_time()
        entries = work()
        seconds = time.process_time() - started
        megabytes = max(_resident() - before, 0)
        self.steps.append({"step": name, "seconds": seconds, "entries": entries, "megabytes": megabytes, "goal": goal})


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    count = int(sys.argv[1])
    settings = Settings()
    maps, steps = Maps(settings), Steps()
    text = json.dumps({"items": [objects.table(n) for n in range(count)]})
    agent = Agent(maps, settings)
    steps.step("listed and programmed", lambda: _both(lambda: agent.listed(text), agent.applied), "< 3 s")
    for left in (4, 5):
        one = json.dumps(objects.table(count // 2, left))
        name = f"one service has {left} backends"
        steps.step(name, lambda one=one: _both(lambda: agent.changed(one), agent.applied), "< 0.1 s")
    maps.restarted()
    again = Agent(maps, settings)
    steps.step("the same after a restart", lambda: _both(lambda: again.listed(text), again.applied), "< 3 s")
    ports = json.dumps({"items": [objects.table(n, kind="NodePort") for n in range(TABLES)]})
    again.listed(ports)
    again.applied()
    steps.step(f"Maglev tables of {TABLES:,} of them", lambda: again.applied(MAGLEV))
    one = json.dumps(objects.table(7, 4, "NodePort"))
    steps.step("one Maglev table", lambda: _both(lambda: again.changed(one), lambda: again.applied(MAGLEV)), "< 0.1 s")
    print(json.dumps(steps.steps))


def _both(first: Callable[[], None], then: Callable[[], int]) -> int:
    first()
    return then()


def _maps(name: str) -> Iterable[MapLayout]:
    return Btf(OBJECTS / f"{name}.bpf.o").maps.values()


def _resident() -> float:
    """Megabytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


if __name__ == "__main__":
    main()
