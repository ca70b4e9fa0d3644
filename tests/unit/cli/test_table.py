"""Rows in, aligned text out: as Go's tabwriter with minimum width 5 and padding 3."""

from hypothesis import given, settings
from hypothesis import strategies as st

from seta_agent.cli import table


def test_a_column_is_as_wide_as_its_widest_cell_and_three():
    assert table.render([["ID", "NAME"], ["1234", "x"]]) == "ID     NAME\n1234   x"


def test_a_column_is_at_least_five_wide():
    assert table.render([["A", "B"], ["1", "2"]]) == "A    B\n1    2"


def test_the_last_cell_of_a_row_makes_no_column_wider():
    assert table.render([["A", "B", "C"], ["1", "a long last cell"], ["1", "2", "3"]]).splitlines() == [
        "A    B    C",
        "1    a long last cell",
        "1    2    3",
    ]


def test_no_line_ends_in_blanks():
    assert table.render([["A", ""], ["1", ""]]) == "A\n1"


def test_further_labels_stand_in_rows_of_their_own():
    assert table.labelled(["7", "ready"], 1, ["k8s:a", "k8s:b"]) == [["7", "k8s:a", "ready"], ["", "k8s:b", ""]]


def test_no_labels_are_told():
    assert table.labelled(["7"], 1, []) == [["7", "no labels"]]


def test_a_node_column_stands_beside_the_first_row_of_each_entry():
    rows = [["ID", "L"], ["1", "a"], ["", "b"]]
    assert table.with_node(rows, "k8s-w1", header=1) == [["NODE", "ID", "L"], ["k8s-w1", "1", "a"], ["", "", "b"]]


cells = st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=8)


@settings(deadline=None)
@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=6))
def test_every_cell_of_a_column_begins_at_the_same_place(rows):
    start = max(5, *(len(row[0]) + 3 for row in rows))
    for row, line in zip(rows, table.render(rows).split("\n"), strict=True):
        assert line[start:].startswith(row[1].rstrip())
