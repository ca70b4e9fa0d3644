"""Text of `bpf lb ...`: services as the kernel has them. Called by the command table; pure."""

from typing import Any

from seta_agent.cli.table import Row

Item = dict[str, Any]
NOWHERE = {False: "0.0.0.0:0", True: "[::]:0"}  # whether it is IPv6 -> where a backend's address stands elsewhere
BACKEND = "BACKEND ADDRESS (REVNAT_ID) (SLOT)"


def lb_list(data: Item) -> list[Row]:
    """Slot 0 is the service itself, with its type; the others are its backends."""
    backends = {item["id"]: item for item in data["backends"]}
    rows: list[Row] = [["SERVICE ADDRESS", BACKEND]]
    for item in data["services"]:
        place = f"({item['rev_nat']}) ({item['slot']})"
        if item["slot"] == 0:
            value = f"{NOWHERE[':' in item['address']]} {place} [{item['type']}]"
        else:
            found = backends.get(item["backend_id"])
            value = f"{_address(found)} {place}" if found else f"backend {item['backend_id']} not found"
        rows.append([_service(item), value])
    return rows


def lb_frontends(data: Item) -> list[Row]:
    rows: list[Row] = [["SERVICE ADDRESS", "BACKEND ID"]]
    return rows + [[_service(item), _value(item)] for item in data["services"]]


def lb_backends(data: Item) -> list[Row]:
    rows: list[Row] = [["ID", "BACKEND ADDRESS", "STATE"]]
    return rows + [[str(item["id"]), _address(item), item["state"]] for item in data["backends"]]


def lb_revnat(data: Item) -> list[Row]:
    rows: list[Row] = [["ID", BACKEND]]
    return rows + [[str(item["id"]), f"{_host(item['address'])}:{item['port']}"] for item in data["reverse_nat"]]


def lb_source_ranges(data: Item) -> list[Row]:
    return [["SOURCE RANGE (REVNAT_ID)"]] + [[f"{item['range']} ({item['id']})"] for item in data["source_ranges"]]


def _service(item: Item) -> str:
    scope = "/i" if item["scope"] == 1 else ""
    return f"{_address(item)}{scope} ({item['slot']})"


def maglev_list(items: list[Item]) -> list[Row]:
    """How many entries of its table each backend of a service has: tables are long, and `get` prints one whole."""
    rows: list[Row] = [["SVC ID", "LOOKUP TABLE"]]
    for item in items:
        shares = ", ".join(f"{backend['id']}: {backend['entries']}" for backend in item["backends"])
        rows.append([str(item["id"]), f"{item['entries']} entries of [{shares}]"])
    return rows


def maglev_get(data: Item) -> list[Row]:
    return [["SVC ID", "LOOKUP TABLE"], [str(data["id"]), f"[{', '.join(map(str, data['table']))}]"]]


def _value(item: Item) -> str:
    """As `map get` shows it."""
    high, low = divmod(item["flags"], 256)
    return f"{item['backend_id']} {item['count']}[{item['qcount']}] ({item['rev_nat']}) [{low:#x} {high:#x}]"


def _address(item: Item) -> str:
    return f"{_host(item['address'])}:{item['port']}/{item['protocol']}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
