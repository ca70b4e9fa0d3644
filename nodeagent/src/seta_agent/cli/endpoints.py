"""Text of `endpoint list`, `identity list`, `ip list` and `service list`. Called by the command table; pure."""

from typing import Any

from seta_agent.cli import table
from seta_agent.cli.table import Row

LABELS = "LABELS (source:key[=value])"


def endpoint_list(items: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = [
        ["ENDPOINT", "POLICY (ingress)", "POLICY (egress)", "IDENTITY", LABELS, "IPv6", "IPv4", "STATUS", "SERVICES"],
        ["", "ENFORCEMENT", "ENFORCEMENT", "", "", "", "", "", ""],
    ]
    for item in items:
        identity = item["identity"]["id"]
        cells = [
            str(item["id"]),
            item["policy"]["ingress"],
            item["policy"]["egress"],
            "<no label id>" if identity is None else str(identity),
            item["ipv6"],
            item["ipv4"],
            item["state"],
            _services(item["services"]),
        ]
        rows += table.labelled(cells, 4, sorted(item["identity"]["labels"]))
    return rows


def _services(services: dict[str, str]) -> str:
    """Where the pod's connections to Services are translated, and why not at the socket."""
    return f"{services['translated']} ({services['reason']})" if services["reason"] else services["translated"]


def identity_list(items: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = [["ID", LABELS]]
    for item in items:
        rows += table.labelled([str(item["id"])], 1, item["labels"])
    return rows


def ip_list(items: list[dict[str, Any]], *, numeric: bool, verbose: bool) -> list[Row]:
    rows: list[Row] = [["IP", "IDENTITY", "SOURCE", *(["HOST", "ENCRYPT_KEY"] if verbose else [])]]
    for item in items:
        more = [item["host"], str(item["encrypt_key"])] if verbose else []
        identity = item["identity"]
        labels = [str(identity["id"])] if numeric or not identity["labels"] else identity["labels"]
        rows += table.labelled([item["ip"], item["source"], *more], 1, labels)
    return rows


def service_key(item: dict[str, Any]) -> tuple[str, ...]:
    """What tells services of the cluster apart; a host port is its node's own."""
    return (item["frontend"], *(backend["node"] for backend in item["backends"] if item["type"] == "HostPort"))


def service_list(items: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = [["ID", "Frontend", "Service Type", "Backend"]]
    for item in items:
        backends = [
            f"{number} => {backend['backend']} ({backend['state']})"
            for number, backend in enumerate(item["backends"], 1)
        ]
        first, *more = backends or [""]
        rows.append([str(item["id"]), item["frontend"], item["type"], first])
        rows += [["", "", "", backend] for backend in more]
    return rows
