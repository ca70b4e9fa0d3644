"""A Service whose table no API server stores: what its user is told, and that it is over when it is smaller."""

from typing import Any

from seta_crds import names
from tests.api.client import Client
from tests.api.controlplane import Operator, eventually

JSON = dict[str, Any]
PORTS = 30


def slices(count: int) -> JSON:
    """Each backend is listed for each port: 1,000 of them make 2.1 MB, where etcd takes 1.5."""
    meta = {"name": "large-1", "labels": {"kubernetes.io/service-name": "large"}}
    listed = [
        {"addresses": [f"10.0.{n // 250}.{n % 250}"], "nodeName": "a-node", "conditions": {"ready": True}}
        for n in range(count)
    ]
    ports = [{"name": f"p{n}", "port": 8000 + n, "protocol": "TCP"} for n in range(PORTS)]
    return {"kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": listed}


def test_a_service_says_that_its_table_is_too_large(operator: Operator, api: Client) -> None:
    def told() -> list[str]:
        found = api.get(names.SERVICE, "large", "default").get("status", {}).get("conditions") or ()
        return [one["reason"] for one in found]

    def backends() -> int:
        tables = [one for one in api.list(names.SERVICE_TABLE) if one["metadata"]["name"] == "large"]
        return sum(len(port.get("backends", ())) for one in tables for port in one["spec"]["ports"])

    ports = [{"name": f"p{n}", "port": 80 + n} for n in range(PORTS)]
    api.apply({"kind": "Service", "metadata": {"name": "large"}, "spec": {"ports": ports}})
    api.apply(slices(10))
    eventually(lambda: backends() == 10 * PORTS, 20, "the table")
    api.apply(slices(1000))
    eventually(lambda: told() == ["TableTooLarge"], 20, "the Service says so")
    assert backends() == 10 * PORTS
    api.apply(slices(20))
    eventually(lambda: told() == [] and backends() == 20 * PORTS, 20, "it is smaller, and written")
