"""Every command that asks once and prints: its words, what it asks, how the answer is shown, how answers merge.

`main` finds the command here; the monitor, which does not end, has a file of its own.
"""

import argparse
import dataclasses
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

from seta_agent.cli import bpf, endpoints, explain, lb, status
from seta_agent.cli.errors import FAILED, USAGE
from seta_agent.cli.table import Row

Arguments = argparse.Namespace
Shown = list[Row] | str


@dataclasses.dataclass(frozen=True)
class Command:
    """`merge_by`: the answer is the cluster's, the same on every node, with one entry per value of this key.

    Otherwise the answer is the node's own, and several are shown with the node's name in front.
    """

    words: str  # "endpoint list"
    help: str
    path: Callable[[Arguments], str]
    show: Callable[[Any, Arguments], Shown]
    merge_by: Callable[[Any], Any] | None = None
    header: int = 1  # rows of the table that are headings
    options: tuple[tuple[str, dict[str, Any]], ...] = ()  # of argparse
    method: Callable[[Arguments], str] = lambda _: "GET"
    code: Callable[[Any], int] = lambda _: 0  # exit code by the answer
    fault: int = FAILED  # exit code where there is no answer
    from_any: bool = False  # every agent would answer the same: from outside one is asked
    needs_node: bool = False  # the words mean something else on each node
    check: Callable[[Arguments], str] = lambda _: ""  # what is wrong with the words, beyond what argparse sees


def flag(name: str, help_text: str, short: str = "") -> tuple[str, dict[str, Any]]:
    return f"{short} {name}".strip(), {"action": "store_true", "help": help_text}


def positional(name: str, help_text: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return name, {"help": help_text, **more}


ENDS = "namespace/pod, an IP address, or reserved:NAME"
NUMERIC = flag("--numeric", "identities as numbers", "-n")
LB_PARTS = {  # option -> what of the LB maps it shows
    "frontends": lb.lb_frontends,
    "backends": lb.lb_backends,
    "revnat": lb.lb_revnat,
    "source_ranges": lb.lb_source_ranges,
}


def _at(path: str) -> Callable[[Arguments], str]:
    return lambda _: path


def as_json(data: Any) -> str:
    return json.dumps(data, indent=2)


def _lb(data: Any, args: Arguments) -> Shown:
    asked = (show for part, show in LB_PARTS.items() if getattr(args, part))
    return next(asked, lb.lb_list)(data)


def _map_list(data: Any, args: Arguments) -> Shown:
    return bpf.map_list_verbose(data) if args.verbose else bpf.map_list(data)


def _policy_maps(args: Arguments) -> str:
    return "/v1/bpf/policy" if args.all else f"/v1/bpf/policy/{args.endpoint}"


def _policy_get(data: Any, args: Arguments) -> Shown:
    shown = bpf.policy_list if args.all else bpf.policy_get
    return shown(data, numeric=args.numeric)


def _options(args: Arguments) -> str:
    query = "&".join(urllib.parse.quote(option, safe="=") for option in args.option)
    return f"/v1/endpoints/{args.id}/config" + (f"?{query}" if query else "")


def _ip_list(data: Any, args: Arguments) -> Shown:
    return endpoints.ip_list(data, numeric=args.numeric, verbose=args.verbose)


COMMANDS = (
    Command(
        "status",
        "is this node's network all right",
        _at("/v1/status"),
        lambda data, args: status.status(data, verbose=args.verbose),
        options=(flag("--verbose", "drops by reason, addresses and watches too"),),
    ),
    Command(
        "endpoint list",
        "pods of the node",
        _at("/v1/endpoints"),
        lambda data, _: endpoints.endpoint_list(data),
        header=2,
    ),
    Command(
        "endpoint get",
        "one pod's endpoint",
        lambda args: f"/v1/endpoints/{args.id}",
        lambda data, _: as_json([data]),
        options=(positional("id", "endpoint id", type=int),),
    ),
    Command(
        "endpoint config",
        "one endpoint's options, or change them",
        _options,
        lambda data, _: [[name, value] for name, value in data.items()],
        header=0,
        options=(
            positional("id", "endpoint id", type=int),
            positional("option", "PolicyAuditMode=Enabled or =Disabled; none: show", nargs="*"),
        ),
        method=lambda args: "PATCH" if args.option else "GET",
        needs_node=True,
    ),
    Command(
        "identity list",
        "identities and their labels",
        _at("/v1/identities"),
        lambda data, _: endpoints.identity_list(data),
        merge_by=lambda item: item["id"],
    ),
    Command(
        "identity get",
        "one identity's labels",
        lambda args: f"/v1/identities/{args.id}",
        lambda data, _: endpoints.identity_list(data),
        merge_by=lambda item: item["id"],
        options=(positional("id", "identity", type=int),),
    ),
    Command(
        "ip list",
        "addresses and their identities",
        _at("/v1/ips"),
        _ip_list,
        merge_by=lambda item: item["ip"],
        options=(NUMERIC, flag("--verbose", "nodes too", "-v")),
    ),
    Command(
        "service list",
        "frontends and their backends",
        _at("/v1/services"),
        lambda data, _: endpoints.service_list(data),
        merge_by=endpoints.service_key,
    ),
    Command(
        "policy get",
        "policies as the operator compiled them, with whom they match now",
        _at("/v1/policy"),
        lambda data, _: as_json(data),
        merge_by=lambda item: item["name"],
    ),
    Command(
        "policy selectors",
        "whom policies speak of, with the identities that match now",
        _at("/v1/policy/selectors"),
        lambda data, _: explain.selectors(data),
        merge_by=lambda item: (item["selector"], item["set"]),
    ),
    Command(
        "policy explain",
        "may one end reach the other, by which rules, and what would allow it",
        explain.path,
        explain.show,
        options=(
            ("--from", {"dest": "source", "required": True, "metavar": "END", "help": ENDS}),
            ("--to", {"required": True, "metavar": "END", "help": ENDS}),
            ("--port", {"required": True, "type": explain.port, "help": "80/TCP, http/TCP or 8/ICMP"}),
            flag("--rule", "print only the rule that would allow it"),
        ),
        code=explain.code,
        fault=USAGE,
        from_any=True,
    ),
    Command(
        "bpf lb list",
        "services in the kernel",
        _at("/v1/bpf/lb"),
        _lb,
        options=(
            flag("--frontends", "frontends only"),
            flag("--backends", "backends only"),
            flag("--revnat", "reverse NAT only"),
            flag("--source-ranges", "source ranges only"),
        ),
    ),
    Command(
        "bpf lb maglev list",
        "shares of backends in each service's Maglev table",
        _at("/v1/bpf/lb/maglev"),
        lambda data, _: lb.maglev_list(data),
    ),
    Command(
        "bpf lb maglev get",
        "one service's Maglev table",
        lambda args: f"/v1/bpf/lb/maglev/{args.id}",
        lambda data, _: lb.maglev_get(data),
        options=(positional("id", "its id in `service list`", type=int),),
    ),
    Command(
        "bpf policy get",
        "an endpoint's policy in the kernel, with what it let through",
        _policy_maps,
        _policy_get,
        options=(
            positional("endpoint", "endpoint id", type=int, nargs="?"),
            flag("--all", "every endpoint's"),
            NUMERIC,
        ),
        check=lambda args: "" if args.all != (args.endpoint is not None) else "name an endpoint, or say --all",
    ),
    Command(
        "bpf ipcache list",
        "addresses and identities in the kernel",
        _at("/v1/bpf/ipcache"),
        lambda data, _: bpf.ipcache_list(data),
    ),
    Command(
        "bpf ct list",
        "connections",
        _at("/v1/bpf/ct"),
        lambda data, _: bpf.ct_list(data),
        options=(positional("scope", "global: of every endpoint", nargs="?", choices=("global",), default="global"),),
    ),
    Command("bpf nat list", "translated connections", _at("/v1/bpf/nat"), lambda data, _: bpf.nat_list(data)),
    Command(
        "bpf endpoint list",
        "local endpoints in the kernel",
        _at("/v1/bpf/endpoint"),
        lambda data, _: bpf.endpoint_list(data),
    ),
    Command(
        "bpf l2-responder list",
        "announced addresses that this node answers for",
        _at("/v1/bpf/l2-responder"),
        lambda data, _: bpf.l2_responder_list(data),
    ),
    Command(
        "bpf metrics list",
        "packets and bytes by outcome: how many went on, how many were dropped, and why",
        _at("/v1/bpf/metrics"),
        lambda data, _: bpf.metrics_list(data),
    ),
    Command(
        "map list",
        "eBPF maps",
        lambda args: "/v1/maps" + ("?content=1" if args.verbose else ""),
        _map_list,
        options=(flag("--verbose", "with their entries"),),
    ),
    Command(
        "map get",
        "one map's entries",
        lambda args: f"/v1/maps/{args.name}",
        lambda data, _: bpf.map_get(data),
        options=(positional("name", "name of the map"),),
    ),
    Command(
        "config",
        "settings that differ from their defaults",
        _at("/v1/config"),
        lambda data, args: status.config(data, everything=args.all),
        header=0,
        options=(flag("--all", "every setting"),),
    ),
)
