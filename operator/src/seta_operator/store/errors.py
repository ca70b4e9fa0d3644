"""The closed list of what can go wrong when talking to the API server; api.py converts to it.

Services never see aiohttp's exceptions. Every error may be retried (work is level-based); the class says how.
"""


class ApiError(Exception):
    """Base: carries one sentence."""


class NotFoundError(ApiError):
    """The object is not there (404): forget it, and create it if it is wanted."""


class ConflictError(ApiError):
    """The object is there already, or newer than what was seen (409): read it and compare again."""


class RefusedError(ApiError):
    """The API server will not take it as it is (400, 401, 403, 405, 413, 422): retrying is slow, people must look."""


class UnavailableError(ApiError):
    """No answer, or one that asks to come back (410, 429, 5xx, timeout, connection): retry soon."""


class NotLeadingError(ApiError):
    """Nothing was asked: another operator may be deciding (leadership.py). Tried again, as after an outage."""


def of_status(status: int, message: str) -> ApiError:
    """The error of an HTTP status."""
    classes = {404: NotFoundError, 409: ConflictError}
    if status in classes:
        return classes[status](message)
    if status in (410, 429) or status >= 500:
        return UnavailableError(message)
    return RefusedError(message)
