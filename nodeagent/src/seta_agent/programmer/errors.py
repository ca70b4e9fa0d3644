"""The one exception that leaves the programmer: a sentence for the user, and whether to try again."""


class ProgrammingError(Exception):
    """Something cannot be programmed; the message says what and why. `retry`: the same may work later."""

    def __init__(self, sentence: str, *, retry: bool = True) -> None:
        self.retry = retry
        super().__init__(sentence)
