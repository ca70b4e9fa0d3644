"""What the API says instead of an answer; each message is a sentence. The server makes status codes of them."""

from collections.abc import Callable
from typing import TypeVar

from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.programmer.errors import ProgrammingError

Answer = TypeVar("Answer")


class NotFoundError(Exception):
    """What was asked for does not exist; the sentence says what does."""


class BadRequestError(Exception):
    """It makes no sense; the sentence says what would."""


class UnavailableError(Exception):
    """It cannot be told now; the sentence says why."""


def told(read: Callable[[], Answer]) -> Answer:
    """The answer, or what went wrong as the API says it."""
    try:
        return read()
    except ProgrammingError as error:
        raise (UnavailableError if error.retry else NotFoundError)(str(error)) from error
    except BpfError as error:
        if error.reason is Reason.NOT_FOUND:
            raise NotFoundError(f"{error}; see `seta map list`") from error
        raise UnavailableError(str(error)) from error
