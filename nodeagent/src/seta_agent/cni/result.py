"""Answers of the CNI in the version that was asked for. Called by the commands and the server; pure."""

from typing import Any

from seta_agent.cni.errors import CniError
from seta_agent.cni.request import IFNAME
from seta_agent.tables import Endpoint, IPAddress


def add_result(endpoint: Endpoint, router: IPAddress, netns: str, version: str) -> dict[str, Any]:
    """Both ends of the veth, the pod's /32 on the inner one, and its routes by way of the router address."""
    address: dict[str, Any] = {"interface": 1, "address": f"{endpoint.ipv4}/32", "gateway": str(router)}
    if version.startswith("0."):
        address["version"] = "4"  # dropped from the format in 1.0
    return {
        "cniVersion": version,
        "interfaces": [
            {"name": endpoint.ifname, "mac": endpoint.node_mac},
            {"name": IFNAME, "mac": endpoint.mac, "sandbox": netns},
        ],
        "ips": [address],
        "routes": [{"dst": f"{router}/32"}, {"dst": "0.0.0.0/0", "gw": str(router)}],
        "dns": {},
    }


def error_result(error: CniError, version: str) -> dict[str, Any]:
    return {"cniVersion": version, "code": int(error.code), "msg": str(error), "details": error.details}
