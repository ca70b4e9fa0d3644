"""The closed list of what can go wrong when talking to the API server; api.py converts to it.

Services never see aiohttp's exceptions. Every error may be retried (work is level-based); the class says how.
"""

TOO_LARGE = ("request is too large", "message larger than max")  # etcd's words; its client's


class ApiError(Exception):
    """Base: carries one sentence."""


class NotFoundError(ApiError):
    """The object is not there (404): forget it, and create it if it is wanted."""


class ConflictError(ApiError):
    """The object is there already, or newer than what was seen (409): read it and compare again."""


class RefusedError(ApiError):
    """The API server will not take it as it is (400, 401, 403, 405, 422): retrying is slow, people must look."""


class TooLargeError(RefusedError):
    """No object of that size can be stored (413, or 500 where etcd says so): only a smaller one will be."""


class UnavailableError(ApiError):
    """No answer, or one that asks to come back (410, 429, 5xx, timeout, connection): retry soon."""


class NotLeadingError(ApiError):
    """Nothing was asked: another operator may be deciding (leadership.py). Tried again, as after an outage."""


def of_status(status: int, message: str) -> ApiError:
    """The error of an HTTP status."""
    classes = {404: NotFoundError, 409: ConflictError}
    if status in classes:
        return classes[status](message)
    if status == 413 or (status >= 500 and any(words in message for words in TOO_LARGE)):
        return TooLargeError(message)
    if status in (410, 429) or status >= 500:
        return UnavailableError(message)
    return RefusedError(message)
