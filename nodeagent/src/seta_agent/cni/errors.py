"""What can go wrong with a CNI request: the specification's codes, and one exception that carries one.

Raised anywhere below the server, which turns it into the JSON that the plugin prints.
"""

import enum


class Code(enum.IntEnum):
    INCOMPATIBLE_VERSION = 1
    UNKNOWN_CONTAINER = 3
    BAD_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODE_FAILURE = 6
    BAD_CONFIG = 7
    TRY_AGAIN = 11
    NOT_AVAILABLE = 50
    LIMITED_CONNECTIVITY = 51
    BROKEN_ATTACHMENT = 100  # ours (100 and above are the plugin's): CHECK found something missing


class CniError(Exception):
    """One sentence for people, and details where there are some. The runtime retries what it retries by `code`."""

    def __init__(self, code: Code, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details
