"""`seta-agent`: reads the settings, sets up the log, runs the agent. The container's entry point.

A start that cannot go on ends with one sentence in the log and exit code 1. The heavy imports come after the checks
that need none of them.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import structlog

from seta_agent import kube_access, logs, paths, process, settings
from seta_crds.labels import LabelFilter

log = structlog.get_logger()


def main() -> None:
    """Console script."""
    arguments = _arguments()
    logs.setup(debug=False)
    try:
        configured = settings.read(arguments.config_dir)
        label_filter = LabelFilter(configured.labels.split())
        access = kube_access.discover()
    except (settings.SettingsError, kube_access.AccessError, ValueError, OSError) as error:
        _fail(str(error))
    if not configured.node_name:
        _fail("K8S_NODE_NAME is not set: the agent does not know which node it is on")
    logs.setup(debug=configured.debug)
    try:
        asyncio.run(_run(configured, label_filter, access))
    except (ExceptionGroup, OSError) as error:
        failures = list(_failures(error))
        bug = not all(isinstance(failure, _expected()) for failure in failures)
        _fail("; ".join(str(failure) or type(failure).__name__ for failure in failures), error if bug else None)


async def _run(configured: settings.Settings, label_filter: LabelFilter, access: kube_access.Access) -> None:
    from seta_agent.agent import Agent  # noqa: PLC0415 - numpy, aiohttp and pyroute2 come with it
    from seta_agent.kube import KubeClient  # noqa: PLC0415

    process.relax_collector()
    client = KubeClient(access)
    try:
        await Agent(configured, label_filter, paths.from_environment(), client).run()
    finally:
        await client.close()


def _failures(error: Exception) -> Iterator[Exception]:
    """What the failed tasks raised, out of the groups in which asyncio wraps it."""
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _failures(inner)
    else:
        yield error


def _expected() -> tuple[type[Exception], ...]:
    """Errors that are the node's or the user's: a sentence says all. Others are ours and get their traceback."""
    from seta_agent.programmer.errors import ProgrammingError  # noqa: PLC0415

    return (ProgrammingError, OSError)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="seta-agent", description="Programs this node's eBPF datapath.")
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=settings.CONFIG_DIRECTORY,
        help="directory with one file per setting (default: %(default)s)",
    )
    return parser.parse_args()


def _fail(sentence: str, cause: Exception | None = None) -> NoReturn:
    log.error("agent_failed", error=sentence, exc_info=cause)
    sys.exit(1)


if __name__ == "__main__":
    main()
