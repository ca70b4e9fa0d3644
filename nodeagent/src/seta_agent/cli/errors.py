"""What ends a `seta` command: one sentence on stderr and an exit code. Printed by `main`."""

FAILED, USAGE = 1, 2


class CliError(Exception):
    """The sentence says what to do next; `code` is what the command exits with."""

    code = FAILED
