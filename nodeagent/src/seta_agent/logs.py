"""Log lines as JSON on stdout: a constant event name, the data as keys. Set up once by `main`."""

import logging
import sys
from typing import TextIO

import orjson
import structlog


def setup(*, debug: bool, file: TextIO = sys.stdout) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_serialize),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file),
        cache_logger_on_first_use=True,
    )


def _serialize(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
