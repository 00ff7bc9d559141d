"""Test one table in three forms: on the screen, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io

from rich.console import Console

from goft_cli.system.tables import Table, styled

TABLE = Table(
    ["adapter", "score"],
    [(*styled("bold", "goft"), "0.50"), (), ("a, [b]", None), ("c", 0.1 + 0.2)],
    "the [title]",
    "fr",
)


def test_the_screen_shows_brackets_and_styles() -> None:
    screen = Console(width=40, file=io.StringIO(), force_terminal=True, color_system="standard")
    with screen.capture() as shown:
        screen.print(TABLE)
    assert "the [title]" in shown.get()
    assert "│ a, [b]  │" in shown.get()
    assert "├──" in shown.get()
    assert "\x1b[1mgoft" in shown.get()


def test_a_document_has_a_line_per_row() -> None:
    assert TABLE.markdown().splitlines() == [
        "| adapter | score |",
        "| --- | ---: |",
        "| goft | 0.50 |",
        "| a, [b] |  |",
        f"| c | {0.1 + 0.2} |",
    ]


def test_a_spreadsheet_gets_numbers_back() -> None:
    header, *rows = csv.reader(TABLE.csv().splitlines())
    assert header == TABLE.columns == ["adapter", "score"]
    assert rows == [["goft", "0.50"], ["a, [b]", ""], ["c", repr(0.1 + 0.2)]]
