"""ground.yaml as objects for the API server. Used by `ground`."""

import pathlib
from typing import Any

import yaml

from tests.e2e.steps import TOOLBOX

PLAN: dict[str, Any] = yaml.safe_load(pathlib.Path(__file__).with_name("ground.yaml").read_text())
PLACE = pathlib.Path(__file__).with_name("place.py").read_text()
NAMESPACE: str = PLAN["namespace"]
PORT = 80
CLASS = "example.org/by-hand"  # nobody's: the addresses of these services are written by the tests
Manifest = dict[str, Any]


def pods() -> list[Manifest]:
    clients = [_pod(name, node, ["sleep", "infinity"], {"app": "client"}) for name, node in PLAN["clients"].items()]
    return [*clients, *(_backend(name, one) for name, one in PLAN["backends"].items())]


def _backend(name: str, one: dict[str, Any]) -> Manifest:
    command = ["python3", "-c", PLACE, "serve", name, str(one["port"])]
    pod = _pod(name, one["node"], command, {"app": one["app"]})
    container = pod["spec"]["containers"][0]
    container["readinessProbe"] = {"tcpSocket": {"port": one["port"]}, "periodSeconds": 1}
    if "never_ready" in one:
        container["readinessProbe"] = {"exec": {"command": ["false"]}}
    if "host_port" in one:
        port = {"containerPort": one["port"], "hostPort": one["host_port"]}
        container["ports"] = [{**port, "protocol": protocol} for protocol in ("TCP", "UDP")]
    if "host_network" in one:
        pod["spec"]["hostNetwork"] = True
    return pod


def _pod(name: str, node: str, command: list[str], labels: dict[str, str]) -> Manifest:
    container = {"name": "main", "image": TOOLBOX, "command": command, "imagePullPolicy": "IfNotPresent"}
    spec = {
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def services() -> list[Manifest]:
    return [_service(name, dict(spec)) for name, spec in PLAN["services"].items()]


def _service(name: str, spec: dict[str, Any]) -> Manifest:
    app, labels, outside = spec.pop("app", "back"), spec.pop("labels", {}), outsides(name)
    protocols = ["TCP", "UDP", *(["SCTP"] if spec.pop("sctp", False) else [])]
    target = next((one["port"] for one in PLAN["backends"].values() if one["app"] == app), 7000)
    spec.pop("outside", None)
    if spec["type"] == "LoadBalancer":
        spec["loadBalancerClass"] = CLASS
    elif outside:
        spec["externalIPs"] = list(outside.values())
    ports = [{"name": one.lower(), "port": PORT, "targetPort": target, "protocol": one} for one in protocols]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {**spec, "selector": {"app": app}, "ports": ports},
    }


def outsides(name: str) -> dict[str, str]:
    """Of a service: node that the router sends it to -> the external or LoadBalancer address."""
    last = PLAN["services"][name].get("outside")
    return {node: f"{network}.{last}" for node, network in PLAN["doors"].items()} if last else {}


def status(name: str) -> Manifest:
    """What whoever gave the service its addresses would write."""
    ingress = [{"ip": address} for address in outsides(name).values()]
    return {"status": {"loadBalancer": {"ingress": ingress}}}
