"""Columns of text, aligned as Go's tabwriter aligns them (minimum width 5, padding 3). Pure.

Called by every command that prints a table: scripts cut our output as they cut the field's.
"""

MINIMUM, PADDING = 5, 3
Row = list[str]


def render(rows: list[Row]) -> str:
    """Lines without trailing blanks.

    A column is a run of consecutive rows that go on after it; a row's last cell belongs to no column and makes none
    wider.

    """
    widths = [[0] * len(row) for row in rows]
    for column in range(max((len(row) for row in rows), default=0)):
        for run in _runs(rows, column):
            width = max(MINIMUM, *(len(rows[index][column]) + PADDING for index in run))
            for index in run:
                widths[index][column] = width
    return "\n".join(_line(row, row_widths) for row, row_widths in zip(rows, widths, strict=True))


def _runs(rows: list[Row], column: int) -> list[list[int]]:
    runs: list[list[int]] = []
    current: list[int] = []
    for index, row in enumerate(rows):
        if len(row) - 1 > column:
            current.append(index)
        elif current:
            runs.append(current)
            current = []
    return [*runs, current] if current else runs


def _line(row: Row, widths: list[int]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def with_node(rows: list[Row], node: str, *, header: int) -> list[Row]:
    """A NODE column in front: for outputs of several nodes in one table. Continuation rows stay blank."""
    marked = [["NODE" if index == 0 else "", *row] for index, row in enumerate(rows[:header])]
    return marked + [[node if row and row[0] else "", *row] for row in rows[header:]]


def labelled(cells: Row, at: int, labels: list[str]) -> list[Row]:
    """A row, and one more for each further label, which stands in column `at`."""
    first, *more = labels or ["no labels"]
    rows = [[*cells[:at], first, *cells[at:]]]
    rows += [[""] * at + [label] + [""] * len(cells[at:]) for label in more]
    return rows
