"""Text of `status` and `config`. Called by the command table; pure."""

from typing import Any

from seta_agent.cli import table

Item = dict[str, Any]


def status(data: Item, *, verbose: bool) -> str:
    """One line per subject; with `verbose` the drops, addresses and watches as well."""
    rows = [
        ["Node:", data["node"]],
        ["Kubernetes:", _kubernetes(data["watches"])],
        ["Datapath:", _ok(data["sentence"])],
        ["Routing:", _routing(data["routing"], data["programmer"]["route_errors"])],
        ["Masquerading:", "IPv4 by eBPF" if data["masquerade"] else "Disabled"],
        ["KubeProxyReplacement:", str(data["kube_proxy_replacement"])],
        ["XDP acceleration:", _acceleration(data["programmer"]["acceleration"])],
        ["IPAM:", f"IPv4: {len(data['addresses'])}/{data['capacity']} allocated from {', '.join(data['pod_cidrs'])}"],
        ["Endpoints:", f"{data['counts']['endpoints']}"],
        ["Policies:", f"{data['counts']['policies']}, enforcement {data['policy_enforcement']}"],
        ["Services:", _services(data["counts"]["services"], data["programmer"]["services_left_out"])],
        ["L2 announcements:", _l2(data["l2_announcements"])],
        ["Health checks:", _probes(data["probes"])],
        ["Monitor:", f"{data['monitor_listeners']} listeners"],
        *([["Drops:", _drops(data["drops"])]] if verbose else []),
        ["Agent:", f"{data['version']}, {_mib(data['rss_bytes'])} MiB, {_ready(data)}"],
    ]
    return table.render(rows) + (_details(data) if verbose else "")


def _ok(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] if sentence else "Ok"


def _kubernetes(watches: list[Item]) -> str:
    broken = [watch for watch in watches if watch["error"] or not watch["synced"]]
    if not broken:
        return f"Ok   {len(watches)} watches"
    first = broken[0]
    return f"{len(broken)} of {len(watches)} watches fail: {first['name']}: {first['error'] or 'not listed yet'}"


def _routing(mode: str, errors: list[str]) -> str:
    """How packets reach other nodes, and the first route that cannot be set."""
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{mode}; {errors[0]}{more}" if errors else mode


def _services(count: int, left_out: int) -> str:
    return f"{count}, {left_out} left out for want of room: raise bpf.lbMapMax" if left_out else f"{count}"


def _acceleration(devices: dict[str, str]) -> str:
    """Who runs the program on each native device, or why nobody does."""
    return "; ".join(f"{name}: {mode}" for name, mode in devices.items()) or "Disabled"


def _l2(data: Item) -> str:
    """What is announced where, and how long that holds without another renewal."""
    if not data["enabled"]:
        return "Disabled"
    if not data.get("holding"):
        return f"Silent: {data.get('error') or 'the lease has not been renewed yet'}"
    up = ", ".join(name for name, is_up in data["interfaces"].items() if is_up) or "no device"
    trouble = f"; {data['error']}" if data["error"] else ""
    return f"{len(data['services'])} services on {up}, {data['seconds_left']:.1f} s left{trouble}"


def _probes(data: Item) -> str:
    """How many ports answer load balancers, and the first that does not."""
    ports = f"{data['health_check_node_ports']} node ports"
    for subject, error in data["errors"].items():
        more = len(data["errors"]) - 1
        return f"{ports}; {subject}: {error}" + (f", and {more} more" if more else "")
    return f"Ok   {ports}"


def _drops(counts: dict[str, int]) -> str:
    """How many packets for which reason, the most frequent first."""
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"


def _mib(size: int) -> int:
    return round(size / (1 << 20))


def _ready(data: Item) -> str:
    return f"ready after {data['ready_after_seconds']:.2f} s" if data["ready_after_seconds"] else "not ready"


def _details(data: Item) -> str:
    watches = [["Watch", "Objects", "Malformed", "State"]]
    watches += [
        [watch["name"], str(watch["objects"]), str(watch["malformed"]), _watch_state(watch)]
        for watch in data["watches"]
    ]
    addresses = [["Address", "Endpoint"]] + [[item["ip"], item["owner"]] for item in data["addresses"]]
    programmer = [[f"{name}:", _text(value)] for name, value in data["programmer"].items()]
    return "\n\n" + "\n\n".join(table.render(rows) for rows in (addresses, watches, programmer))


def _watch_state(watch: Item) -> str:
    return str(watch["error"] or ("Ok" if watch["synced"] else "not listed yet"))


def config(items: list[Item], *, everything: bool) -> list[table.Row]:
    """What was set; with `everything` the defaults too."""
    return [[item["name"], _text(item["value"])] for item in items if everything or item["set"]]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
