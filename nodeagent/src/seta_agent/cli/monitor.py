"""`seta monitor`: events of this node's packets, or of all nodes', as they come. Called by `main`.

Every line is flushed: whoever reads a pipe sees an event when it happens. Losses are shown, not hidden.
"""

import argparse
import json
import os
import sys
import threading
from typing import Any

from seta_agent.cli import local
from seta_agent.cli.errors import CliError


def run(args: argparse.Namespace) -> None:
    """Until interrupted, or the agent ends. Raises CliError."""
    if args.output == "yaml":
        raise CliError("monitor prints text or `-o json` (one object per line)")
    if not local.is_here() or args.node:
        _follow_cluster(args)
        return
    if args.until_stdin_ends:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    query = f"?type={args.type}" if args.type else ""
    for event in local.stream(f"/v1/monitor{query}"):
        print(line(event, args.output), flush=True)


def line(event: dict[str, Any], form: str) -> str:
    summary = str(event.pop("summary", ""))
    return json.dumps(event) if form == "json" else summary


def _follow_cluster(args: argparse.Namespace) -> None:
    from seta_agent.cli import cluster  # noqa: PLC0415 - not needed on a node

    chosen = cluster.agents(args.node)
    words = ["monitor", *(["--type", args.type] if args.type else []), *(["-o", "json"] if args.output else [])]
    several = len(chosen) > 1 and not args.output

    def show(node: str, text: str) -> None:
        print(f"{node}: {text}" if several else text, flush=True)

    cluster.follow(chosen, words, show)


def _end_with_stdin() -> None:
    """No signal passes through kubectl: the end of its stream is how we learn that nobody listens any more."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)
