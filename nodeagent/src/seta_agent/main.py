"""`seta-agent`: reads the settings, sets up the log, runs the agent. The container's entry point.

A start that cannot go on ends with one sentence in the log and exit code 1. The heavy imports come after the checks
that need none of them.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import structlog

from seta_agent import kube_access, logs, paths, settings

log = structlog.get_logger()


def main() -> None:
    """Console script."""
    arguments = _arguments()
    logs.setup(debug=False)
    try:
        configured = settings.read(arguments.config_dir)
        access = kube_access.discover()
    except (settings.SettingsError, kube_access.AccessError, OSError) as error:
        _fail(str(error))
    if not configured.node_name:
        _fail("K8S_NODE_NAME is not set: the agent does not know which node it is on")
    logs.setup(debug=configured.debug)
    try:
        asyncio.run(_run(configured, access))
    except BaseExceptionGroup as group:
        _fail("; ".join(_sentences(group)), group)


async def _run(configured: settings.Settings, access: kube_access.Access) -> None:
    from seta_agent.agent import Agent  # noqa: PLC0415 - numpy, aiohttp and pyroute2 come with it
    from seta_agent.kube import KubeClient  # noqa: PLC0415

    client = KubeClient(access)
    try:
        await Agent(configured, paths.from_environment(), client).run()
    finally:
        await client.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="seta-agent", description="Programs this node's eBPF datapath.")
    parser.add_argument(
        "--config-dir",
        type=Path,
        default=settings.CONFIG_DIRECTORY,
        help="directory with one file per setting (default: %(default)s)",
    )
    return parser.parse_args()


def _sentences(group: BaseExceptionGroup) -> list[str]:
    """What each failed task said; a bug's traceback is logged beside it."""
    found: list[str] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _sentences(error)
        else:
            found.append(str(error) or type(error).__name__)
    return found


def _fail(sentence: str, cause: BaseException | None = None) -> None:
    log.error("agent_failed", error=sentence, exc_info=cause)
    sys.exit(1)


if __name__ == "__main__":
    main()
