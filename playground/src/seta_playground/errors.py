"""The one error that users of the playground see: a sentence that says what is wrong and what to do next.

Raised anywhere below cli.py, printed there without a traceback. Library and operating system errors are
turned into it where they are understood; whatever else escapes is a bug and keeps its traceback.
"""


class PlaygroundError(Exception):
    """What went wrong, in words for the person at the terminal."""
