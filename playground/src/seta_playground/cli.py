"""The command `playground`: reads arguments, calls up.py and commands.py, prints what goes wrong in a sentence."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from seta_playground import commands, install, state, up
from seta_playground.errors import PlaygroundError
from seta_playground.progress import Progress

DEFAULT_NAME = "seta"


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    split = given.index("--") if "--" in given else len(given)
    arguments = parser().parse_args(given[:split])
    arguments.argv = given[split + 1 :]
    try:
        run(arguments)
    except PlaygroundError as error:
        print(f"playground: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Carry out a parsed command."""
    if arguments.command != "env" and os.geteuid() != 0:
        raise PlaygroundError("namespaces, mounts and cgroups need root: run it with sudo")
    name, progress = arguments.name, Progress()
    match arguments.command:
        case "install":
            install.images(progress, install.programs(progress, arguments.binaries))
            progress.say("everything is installed")
        case "up":
            cluster = up.up(name, settings(arguments), progress, arguments.binaries)
            option = "" if name == DEFAULT_NAME else f" --name {name}"
            progress.say(f'cluster {cluster.name} is up: eval "$({sys.argv[0]} env{option})"')
        case "down":
            commands.down_all(progress) if arguments.all else commands.down(name, progress)
        case "status":
            commands.status(name)
        case "env":
            commands.env(name)
        case "exec":
            commands.execute(name, arguments.place, arguments.argv)
        case "load":
            commands.load(name, arguments.tar, progress)
        case "logs":
            commands.logs(name, arguments.component, arguments.node, follow=arguments.follow)


def settings(arguments: argparse.Namespace) -> state.Settings:
    """What `up` was asked for."""
    for value in arguments.set:
        if "=" not in value:
            raise PlaygroundError(f"--set {value}: give it as key=value")
    proxy = arguments.kube_proxy or ("iptables" if arguments.network == "plain" else "")
    return state.Settings(arguments.network, proxy, arguments.nodes, tuple(arguments.set))


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--name", default=DEFAULT_NAME, help="which cluster (default: %(default)s); several run at once"
    )
    building = argparse.ArgumentParser(add_help=False)
    building.add_argument(
        "--binaries",
        metavar="DIR",
        help="use the Kubernetes programs in DIR (or $KUBEBUILDER_ASSETS) instead of building them",
    )
    whole = argparse.ArgumentParser(prog="playground", description="A real Kubernetes cluster on this machine.")
    subcommands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    subcommands.add_parser(
        "install", parents=[common, building], help="do all work that is done once: packages, programs, images"
    )
    _up(subcommands.add_parser("up", parents=[common, building], help="bring a cluster up"))
    down = subcommands.add_parser("down", parents=[common], help="remove a cluster and everything it made")
    down.add_argument("--all", action="store_true", help="all clusters")
    subcommands.add_parser("status", parents=[common], help="what runs, where, and what it costs")
    subcommands.add_parser("env", parents=[common], help='for the shell: eval "$(playground env)"')
    execute = subcommands.add_parser(
        "exec",
        parents=[common],
        usage="playground exec [--name NAME] NODE|world|router|lan -- COMMAND",
        help="run a command inside a node, the world host, the router or the LAN",
    )
    execute.add_argument("place", metavar="NODE|world|router|lan")
    load = subcommands.add_parser("load", parents=[common], help="bring an image archive to every node")
    load.add_argument("tar", type=Path, metavar="IMAGE.tar")
    logs = subcommands.add_parser("logs", parents=[common], help="the log of kubelet, kube-apiserver, seta, ...")
    logs.add_argument("component", metavar="COMPONENT")
    logs.add_argument("--node", help="of that node only")
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing what is added")
    return whole


def _up(up_parser: argparse.ArgumentParser) -> None:
    up_parser.add_argument(
        "--nodes", type=int, default=3, help="how many, the control plane's included (default: %(default)s)"
    )
    up_parser.add_argument(
        "--network", choices=["seta", "plain"], default="seta", help="plain: ptp, static routes and kube-proxy"
    )
    up_parser.add_argument(
        "--kube-proxy", choices=["iptables", "nftables"], help="its mode, with --network plain (default: iptables)"
    )
    up_parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a value of Seta's chart; may be repeated"
    )
