"""Text of `bpf ... list|get` and `map list|get`: what the kernel's maps hold. Called by the command table; pure.

Services are in `lb`.
"""

from typing import Any

from seta_agent.cli import table
from seta_agent.cli.table import Row

Item = dict[str, Any]
XLATE = {"source": "SRC", "destination": "DST"}
EMPTY_POLICY = "Policy stats empty. Perhaps the policy enforcement is disabled?"


def policy_get(items: list[Item], *, numeric: bool) -> list[Row] | str:
    if not items:
        return EMPTY_POLICY
    subject = "IDENTITY" if numeric else "LABELS (source:key[=value])"
    last = ["PORT/PROTO", "PROXY PORT", "AUTH TYPE", "BYTES", "PACKETS", "PREFIX", "COOKIE"]
    rows: list[Row] = [["POLICY", "DIRECTION", subject, *last]]
    for item in items:
        cells = [
            "Deny" if item["deny"] else "Allow",
            item["direction"].capitalize(),
            item["port"],
            str(item["proxy_port"]) if item["proxy_port"] else "NONE",
            item["auth_type"],
            str(item["bytes"]),
            str(item["packets"]),
            str(item["prefix"]),
            str(item["cookie"]),
        ]
        rows += table.labelled(cells, 2, _subject(item, numeric=numeric))
    return rows


def policy_list(items: list[Item], *, numeric: bool) -> str:
    """Every endpoint's policy, each under its number."""
    return "\n\n".join(
        f"Endpoint ID: {item['endpoint']}\nPath: {item['path']}\n\n"
        + _as_text(policy_get(item["entries"], numeric=numeric))
        for item in items
    )


def _subject(item: Item, *, numeric: bool) -> list[str]:
    if numeric:
        return [str(item["identity"])]
    return ["ANY"] if item["identity"] == 0 else item["labels"] or [str(item["identity"])]


def ipcache_list(items: list[Item]) -> list[Row]:
    rows: list[Row] = [["IP PREFIX/ADDRESS", "IDENTITY"]]
    return rows + [
        [
            item["prefix"],
            (
                f"identity={item['identity']} encryptkey={item['key']} tunnelendpoint={item['tunnel_endpoint']} "
                f"flags={item['flags']:#x}"
            ),
        ]
        for item in items
    ]


def endpoint_list(items: list[Item]) -> list[Row]:
    rows: list[Row] = [["IP ADDRESS", "LOCAL ENDPOINT INFO"]]
    for item in items:
        value = "(localhost)"
        if not item["host"]:
            value = (
                f"id={item['id']} sec_id={item['identity']} flags={item['flags']:#06x} ifindex={item['ifindex']} "
                f"mac={item['mac'].upper()} nodemac={item['node_mac'].upper()}"
            )
        rows.append([item["address"], value])
    return rows


def l2_responder_list(items: list[Item]) -> list[Row]:
    rows: list[Row] = [["IP ADDRESS", "IFINDEX", "INTERFACE", "RESPONSES SENT"]]
    return rows + [
        [item["address"], str(item["ifindex"]), item["interface"], str(item["responses_sent"])] for item in items
    ]


def ct_list(items: list[Item]) -> str:
    return "\n".join(
        f"{_ends(item)} expires={item['expires']} Packets={item['packets']} Bytes={item['bytes']} "
        f"TxFlagsSeen={item['tx_flags']:#04x} RxFlagsSeen={item['rx_flags']:#04x} "
        f"Flags={item['flags']:#06x} [ {''.join(f'{name} ' for name in item['flag_names'])}] "
        f"RevNAT={item['rev_nat']} SourceSecurityID={item['source_identity']}"
        + (f" BackendID={item['backend_id']}" if item["service"] else "")
        for item in items
    )


def nat_list(items: list[Item]) -> str:
    return "\n".join(
        f"{_ends(item)} XLATE_{XLATE[item['translated']]} {item['to']} Created={item['age']}sec ago" for item in items
    )


def _ends(item: Item) -> str:
    service = " service" if item["service"] else ""
    return f"{item['protocol']} {item['direction']} {item['source']} -> {item['destination']}{service}"


def metrics_list(items: list[Item]) -> list[Row]:
    rows: list[Row] = [["REASON", "DIRECTION", "PACKETS", "BYTES", "LINE", "FILE"]]
    for item in items:
        place = [str(item["line"]), item["file"]] if item["file"] else ["", ""]
        rows.append([item["reason"], item["direction"].upper(), str(item["packets"]), str(item["bytes"]), *place])
    return rows


def map_list(items: list[Item]) -> list[Row]:
    rows: list[Row] = [["Name", "Num entries", "Num errors", "Cache enabled"]]
    return rows + [
        [item["name"], str(item["entries"]), str(item["errors"]), str(item["cache"]).lower()] for item in items
    ]


def map_list_verbose(items: list[Item]) -> str:
    """Every map with its entries."""
    return "\n\n".join(f"## Map: {item['name']}\n{_as_text(map_get(item['content']))}" for item in items)


def _as_text(shown: list[Row] | str) -> str:
    return shown if isinstance(shown, str) else table.render(shown)


def map_get(entries: list[Item]) -> list[Row] | str:
    if not entries:
        return "Cache is empty"
    rows: list[Row] = [["Key", "Value", "State", "Error"]]
    return rows + [[entry["key"], entry["value"], entry["state"], entry["error"]] for entry in entries]
