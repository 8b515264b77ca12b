"""Rows as aligned text."""

from services.client.table import format_table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    table = format_table(("model", "n"), [("a", "1"), ("long-name", "22")])
    assert table == "model      n\na          1\nlong-name  22"


def test_no_rows() -> None:
    assert format_table(("model", "n"), []) == "model  n"
