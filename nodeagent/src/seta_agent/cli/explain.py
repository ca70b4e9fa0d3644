"""`seta policy explain` and `seta policy selectors`: their words and texts. Called by the command table; pure."""

import argparse
import urllib.parse
from typing import Any

from seta_agent.cli.errors import CliError
from seta_agent.cli.table import Row

Item = dict[str, Any]
PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPV6")
HINT = "This would allow it (--rule prints nothing else, for `kubectl apply -f -`):"


def port(text: str) -> str:
    """80/TCP, http/TCP, 8/ICMP, or the two parts the other way round: what is none of these is a usage error."""
    parts = text.upper().split("/")
    if len(parts) != 2 or not all(parts) or not set(parts) & set(PROTOCOLS):
        raise argparse.ArgumentTypeError(f"{text} is no port: write 80/TCP, http/TCP or 8/ICMP")
    return text


def path(args: argparse.Namespace) -> str:
    asked = {"from": args.source, "to": args.to, "port": args.port}
    return f"/v1/policy/explain?{urllib.parse.urlencode(asked)}"


def code(answer: Item) -> int:
    """Exit code: 0 allowed, 1 denied."""
    return 0 if answer["verdict"] == "allowed" else 1


def show(answer: Item, args: argparse.Namespace) -> str:
    if args.rule:
        return _rules(answer)
    ends = (f"{answer[side]['name']} (identity {answer[side]['identity']})" for side in ("from", "to"))
    lines = [f"{answer['port']} from {' to '.join(ends)}: {answer['verdict']}", ""]
    lines += [f"{way.capitalize()} of {answer[way]['of']}: {answer[way]['reason']}" for way in ("egress", "ingress")]
    if answer.get("advice"):
        lines += ["", f"{answer['advice'][:1].upper()}{answer['advice'][1:]}."]
    if answer.get("allow"):
        lines += ["", HINT, "", _yaml(answer["allow"])]
    return "\n".join(lines)


def _rules(answer: Item) -> str:
    """Raises CliError where there is no rule to print."""
    if answer["verdict"] == "allowed":
        raise CliError("it is allowed already: there is no rule to add")
    if not answer["allow"]:
        raise CliError(answer["advice"])
    return _yaml(answer["allow"])


def _yaml(manifests: list[Item]) -> str:
    import yaml  # noqa: PLC0415 - slow to import

    return "---\n".join(yaml.safe_dump(one, sort_keys=False) for one in manifests).rstrip("\n")


def selectors(items: list[Item]) -> list[Row]:
    """One row per selector set, and one more for each further identity."""
    rows: list[Row] = [["SELECTOR", "LABELS", "USERS", "IDENTITIES"]]
    for item in items:
        first, *more = [str(number) for number in item["identities"]] or [""]
        rows.append([item["selector"], ", ".join(item["policies"]), str(len(item["policies"])), first])
        rows += [["", "", "", number] for number in more]
    return rows
