"""Services and pools in, addresses and conditions out: a small world around the operator's LBIPAM, for its tests."""

import copy
from typing import Any

from seta_crds import names
from seta_crds.lbipam import verdicts
from seta_operator.services.lbipam import LBIPAM
from tests.unit.operator.fakes import Bench, settle

JSON = dict[str, Any]


class World:
    def __init__(self, default_ipam: str = "lbipam") -> None:
        self.bench, self._default, self._clock = Bench(), default_ipam, 0
        self.subject = LBIPAM(self.bench.cluster, self.bench.writer, default_ipam)
        self.subject.start()

    async def settle(self) -> set[Any]:
        return await settle(self.subject, rounds=20)

    @property
    def writes(self) -> int:
        return sum(1 for verb, *_ in self.bench.api.calls if verb == "patch")

    def pool(self, name: str, spec: JSON | None) -> None:
        if spec is None:
            self.bench.gone(names.LOAD_BALANCER_IP_POOL, name)
            return
        held = self.bench.api.of(names.LOAD_BALANCER_IP_POOL).get(name, {})
        created = {"creationTimestamp": held["metadata"]["creationTimestamp"] if held else self.now()}
        status = {"status": held["status"]} if "status" in held else {}
        self.bench.seen(names.LOAD_BALANCER_IP_POOL, name, metadata=created, spec=spec, **status)

    def service(self, path: str, body: JSON | None) -> None:
        """`path`: name, or namespace/name. The body has labels, annotations, spec; ips: what its status shows."""
        namespace, name = key_of(path)
        if body is None:
            self.bench.gone(names.SERVICE, name, namespace)
            return
        held = self.bench.api.objects.get((names.SERVICE, namespace, name), {})
        meta = {key: body[key] for key in ("labels", "annotations") if key in body}
        meta["creationTimestamp"] = held["metadata"]["creationTimestamp"] if held else self.now()
        usual = {"type": "LoadBalancer", "ports": [{"port": 80}], "ipFamilies": ["IPv4"]}
        spec = {**usual, **body.get("spec", {})}
        status = copy.deepcopy(held.get("status", {}))
        if "ips" in body:
            status["loadBalancer"] = {"ingress": [{"ip": ip} for ip in body["ips"]]}
        if spec["type"] != "LoadBalancer":
            status.pop("loadBalancer", None)  # so does the API server
        self.bench.seen(names.SERVICE, name, namespace, metadata=meta, spec=spec, status=status)

    def now(self) -> str:
        self._clock += 1
        return f"2026-01-01T00:{self._clock // 60:02}:{self._clock % 60:02}Z"

    def addresses(self) -> dict[str, list[str]]:
        """Service (namespace/name) -> what its status shows."""
        found = {}
        for kind, namespace, name in self.bench.api.objects:
            if kind == names.SERVICE:
                ingress = (self.status(f"{namespace}/{name}").get("loadBalancer") or {}).get("ingress") or []
                found[f"{namespace}/{name}"] = [one["ip"] for one in ingress]
        return found

    def status(self, path: str) -> JSON:
        namespace, name = key_of(path)
        found: JSON = self.bench.api.objects[names.SERVICE, namespace, name].get("status") or {}
        return found

    def condition(self, path: str) -> JSON | None:
        """Of a Service: ours."""
        conditions = self.status(path).get("conditions") or []
        return next((one for one in conditions if one["type"] == verdicts.SATISFIED), None)

    def pool_conditions(self, name: str) -> dict[str, JSON]:
        """Type -> condition."""
        status = self.bench.api.of(names.LOAD_BALANCER_IP_POOL)[name].get("status") or {}
        return {one["type"]: one for one in status.get("conditions", ())}

    async def restarted(self) -> "World":
        """Another operator on the same API server."""
        other = World(self._default)
        other.bench.api, other._clock = self.bench.api, self._clock
        other.bench.writer._api = self.bench.api  # type: ignore[assignment]  # quacks
        for (kind, _, _), body in self.bench.api.objects.items():
            other.bench.cluster.seen(kind, copy.deepcopy(body))
        await other.settle()
        return other


def key_of(path: str) -> tuple[str, str]:
    namespace, _, name = path.rpartition("/")
    return namespace or "default", name
