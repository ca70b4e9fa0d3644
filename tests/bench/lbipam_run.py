"""One process's round of lbipam: `python -m tests.bench.lbipam_run SERVICES`; the last line is JSON."""

import asyncio
import json
import logging
import sys
from typing import Any

import structlog

from seta_crds import names
from seta_crds.names import Kind
from seta_operator.services.lbipam import LBIPAM
from seta_operator.store.cluster import Cluster
from seta_operator.store.writer import Writer
from tests.bench.scale_run import Clock, Memory

JSON = dict[str, Any]
NAMESPACES = 100
CREATED = {"creationTimestamp": "2026-01-01T00:00:00Z"}


class Operator:
    """The operator's LB-IPAM on an API server of its own, or on that of the one before it."""

    def __init__(self, api: Memory) -> None:
        self._api, self._cluster = api, Cluster()
        self._subject = LBIPAM(self._cluster, Writer(api, self._cluster), "lbipam")  # type: ignore[arg-type]  # quacks

    async def see(self, *things: tuple[Kind, JSON]) -> None:
        for kind, body in things:
            self._cluster.seen(kind, self._api.put(kind, body))
        await self._settled()

    async def gone(self, kind: Kind, namespace: str, name: str) -> None:
        del self._api.objects[kind, namespace, name]
        self._cluster.gone(kind, (namespace, name))
        await self._settled()

    async def started(self) -> None:
        for (kind, _, _), body in list(self._api.objects.items()):
            self._cluster.seen(kind, body)
        self._subject.start()
        await self._settled()

    async def _settled(self) -> None:
        while self._subject._marked:
            keys, self._subject._marked = self._subject._marked, set()
            assert not await self._subject.apply(keys)


def service(number: int) -> tuple[Kind, JSON]:
    meta = {"namespace": f"n{number % NAMESPACES}", "name": f"s{number}", "labels": {"app": f"a{number}"}, **CREATED}
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "ipFamilies": ["IPv4"], "clusterIP": "10.96.0.1"}
    return names.SERVICE, {"kind": "Service", "metadata": meta, "spec": spec}


def pool(name: str, cidr: str, namespace: str = "") -> tuple[Kind, JSON]:
    wants = {"matchLabels": {"io.kubernetes.service.namespace": namespace}} if namespace else {}
    spec = {"blocks": [{"cidr": cidr}], "serviceSelector": wants}
    kind = names.LOAD_BALANCER_IP_POOL
    return kind, {"kind": kind.kind, "metadata": {"name": name, **CREATED}, "spec": spec}


async def run(services: int) -> list[JSON]:
    api = Memory()
    operator, clock = Operator(api), Clock(api)
    pools = [pool(f"p{n}", f"10.{n}.0.0/24", f"n{n}") for n in range(1, 11)]
    await operator.see(pool("wide", "10.64.0.0/16"), *pools)
    every = [service(n) for n in range(services)]
    await clock.step("all get an address", lambda: operator.see(*every), "< 10 s")
    await clock.step("one more gets one", lambda: operator.see(service(services)))
    await clock.step("one goes", lambda: operator.gone(names.SERVICE, "n0", "s0"))
    edited = pool("p1", "10.1.0.0/25", "n1")
    await clock.step("a pool for one namespace is edited, all stay", lambda: operator.see(edited))
    await clock.step("it is another range, its services move", lambda: operator.see(pool("p1", "10.32.0.0/24", "n1")))
    await clock.step("the operator restarted", lambda: Operator(api).started(), "< 10 s")
    shown = [one["status"]["loadBalancer"]["ingress"][0]["ip"] for one in api.of(names.SERVICE)]
    assert len(set(shown)) == services, "each has one of its own"
    return clock.steps


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(run(int(sys.argv[1])))))


if __name__ == "__main__":
    main()
