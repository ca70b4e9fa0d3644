"""`seta`: shows what a node's agent knows and what its kernel holds. The console script.

On a node (or in the agent's container) it asks the local agent; elsewhere, or with --node, all agents through kubectl.
Exit code 1 with one sentence on stderr when something cannot be shown, 2 for a command that does not exist.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from seta_agent.cli import local, merge
from seta_agent.cli.commands import COMMANDS, Command, as_json
from seta_agent.cli.errors import FAILED, USAGE, CliError

TYPES = ("drop", "trace", "policy-verdict")


def main() -> None:
    """Entry point; never returns."""
    try:
        sys.exit(run(sys.argv[1:]))
    except CliError as error:
        print(f"seta: {error}", file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` has what it wanted
        sys.exit(0)


def run(words: Sequence[str]) -> int:
    """Runs one command. Raises CliError."""
    known = parser()
    args = known.parse_args(words)
    if args.command is None:
        return int(args.run(args))
    if wrong := args.command.check(args):
        known.error(wrong)
    try:
        return ask(args.command, args, words)
    except CliError as error:
        error.code = args.command.fault
        raise


def ask(command: Command, args: argparse.Namespace, words: Sequence[str]) -> int:
    """The command's exit code. Raises CliError."""
    if local.is_here() and not args.node:
        return show(command, args, local.ask(command.method(args), command.path(args)))
    if command.needs_node and not args.node:
        raise CliError("that is one node's own: name the node with --node")
    from seta_agent.cli import cluster  # noqa: PLC0415 - not needed on a node, where most calls are made

    agents = cluster.agents(args.node)
    if command.from_any:
        return show(command, args, cluster.ask_any(agents, merge.bare_words(words)))
    answers, faults = cluster.ask(agents, merge.bare_words(words))
    for node, sentence in faults.items():
        print(f"seta: {node}: {sentence}", file=sys.stderr)
    if len(answers) == 1 and not faults:
        return show(command, args, next(iter(answers.values())))
    if command.merge_by is not None and answers:
        show(command, args, merge.union(answers, command.merge_by))
    elif answers:
        show_by_node(command, args, answers)
    return FAILED if faults else 0


def show(command: Command, args: argparse.Namespace, data: Any) -> int:
    """Prints the answer; the exit code that it means."""
    if args.output:
        print(encode(data, args.output))
        return command.code(data)
    shown = command.show(data, args)
    if args.no_headers and not isinstance(shown, str):
        shown = shown[command.header :]
    text = merge.text(shown)
    if text:
        print(text)
    return command.code(data)


def show_by_node(command: Command, args: argparse.Namespace, answers: dict[str, Any]) -> None:
    if args.output:
        print(encode(answers, args.output))
        return
    shown = {node: command.show(data, args) for node, data in answers.items()}
    print(merge.by_node(shown, command.header, with_header=not args.no_headers))


def encode(data: Any, form: str) -> str:
    if form == "json":
        return as_json(data)
    import yaml  # noqa: PLC0415 - rarely asked for, and slow to import

    return str(yaml.safe_dump(data, sort_keys=False)).rstrip("\n")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="seta", description="Shows what Seta does on a node, or on all of them.")
    groups: dict[tuple[str, ...], Any] = {(): top.add_subparsers(required=True, metavar="COMMAND")}
    common = _common()
    for command in COMMANDS:
        *path, last = command.words.split()
        added = _group(groups, tuple(path)).add_parser(last, help=command.help, parents=[common])
        for names, options in command.options:
            added.add_argument(*names.split(), **options)
        added.set_defaults(command=command)
    monitor = groups[()].add_parser("monitor", help="what happens to packets, as it happens", parents=[common])
    monitor.add_argument("--type", choices=TYPES, default="", help="only this type of event")
    monitor.add_argument("--until-stdin-ends", action="store_true", help=argparse.SUPPRESS)
    monitor.set_defaults(command=None, run=_monitor)
    preview = _group(groups, ("lb",)).add_parser("preview", help="what editing address pools would do to Services")
    _preview_options(preview)
    preview.set_defaults(command=None, run=_preview)
    return top


def _monitor(args: argparse.Namespace) -> int:
    from seta_agent.cli import monitor  # noqa: PLC0415 - its imports are for it alone

    monitor.run(args)
    return 0


def _preview(args: argparse.Namespace) -> int:
    """Asks the API server, not agents. Raises CliError with the code for what it cannot say."""
    from seta_agent.cli import lbpreview  # noqa: PLC0415 - its imports are for it alone

    try:
        found, code = lbpreview.answer(args)
    except CliError as error:
        error.code = USAGE
        raise
    print(encode(found, args.output) if args.output else lbpreview.text(found, headers=not args.no_headers))
    return code


def _preview_options(parser: argparse.ArgumentParser) -> None:
    files: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("-f", "--filename", metavar="FILE", help="pools as they would be; - is stdin", **files)
    parser.add_argument("--delete", metavar="NAME", help="a pool that would be deleted", **files)
    parser.add_argument("-o", "--output", choices=("json", "yaml"), default="", help="print the data, not a table")
    parser.add_argument("--no-headers", action="store_true", help="print the rows of the table only")


def _group(groups: dict[tuple[str, ...], Any], path: tuple[str, ...]) -> Any:
    """The subparsers under `path`, made where they are new."""
    if path not in groups:
        made = _group(groups, path[:-1]).add_parser(path[-1], help=f"{' '.join(path)} ...")
        groups[path] = made.add_subparsers(required=True, metavar="COMMAND")
    return groups[path]


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-o", "--output", choices=("json", "yaml"), default="", help="print the data, not a table")
    common.add_argument("--no-headers", action="store_true", help="print the rows of a table only")
    common.add_argument("--node", default="", help="ask this node's agent, through kubectl")
    return common


if __name__ == "__main__":
    main()
