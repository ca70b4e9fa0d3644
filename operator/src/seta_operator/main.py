"""The console script `seta-operator`."""

import argparse
import asyncio
import gc
import sys
from pathlib import Path

import structlog

from seta_operator import app, health, logs, settings
from seta_operator.store.connection import NoClusterError


def main() -> None:
    """Run until a signal comes; a setting that cannot be used ends it with one sentence and code 2."""
    parser = argparse.ArgumentParser(prog="seta-operator", description="Decides for the cluster what agents program.")
    parser.add_argument("--config-dir", type=Path, default=settings.DIRECTORY, help="default: %(default)s")
    parser.add_argument("--health-port", type=int, default=health.PORT, help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        found = settings.read(arguments.config_dir)
    except settings.SettingsError as error:
        sys.exit(_fail(str(error)))
    logs.configure(debug=found.debug)
    log = structlog.get_logger()
    log.info("operator.starting", **found.model_dump(mode="json"))
    _relax_collector()
    try:
        asyncio.run(app.run(found, arguments.health_port))
    except NoClusterError as error:
        sys.exit(_fail(str(error)))
    log.info("operator.stopped")


def _relax_collector() -> None:
    """Modules are for ever, and what the tables hold (a million objects in a large cluster) is no garbage."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _fail(sentence: str) -> int:
    sys.stderr.write(f"seta-operator: {sentence}\n")
    return 2
