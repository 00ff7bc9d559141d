"""Delimited files with any quotes, field lengths and Unicode encodings are read correctly."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goft_cli.data.files import read_file
from goft_cli.data.formats import Layout
from goft_cli.system.errors import GoftError
from tests.data.test_formats import RAW, Rows, write_csv, write_json, write_jsonl, write_tsv

ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")
FIELDS = st.text(st.sampled_from('"\t\n, 1') | ANY)
ROWS = st.lists(st.tuples(FIELDS, st.integers(0, 1)), min_size=1, max_size=6)
UMLAUTS = "größe, 漢字"
# Sentences as in GLUE's files, which do not quote fields.
RAW_SENTENCES = [
    '"They drank the pub dry," he said.',
    'He said "no"',
    '"Yes," she said, "no"',
    '"all of it"',
    '"',
    'the "',
]
AS_IF_QUOTED = '"a ""b"" c"'


def sentences(path: Path, layout: Layout | None = None) -> list[str]:
    return list(read_file(path, layout or Layout()).columns["sentence"])


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_tab_separated_text_of_pandas_loses_its_quotes(
    tmp_path: Path, quoting: int, rows: Rows
) -> None:
    path = tmp_path / "new.tsv"
    frame = pd.DataFrame(rows, columns=["sentence", "label"])
    frame.to_csv(path, sep="\t", index=False, quoting=quoting)
    assert sentences(path) == [text for text, _ in rows]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_the_header_of_a_csv_file_tells_its_delimiter(
    tmp_path: Path, mark: str, quoting: int, rows: Rows
) -> None:
    path = tmp_path / "new.csv"
    frame = pd.DataFrame(
        [(f"{text};,", label) for text, label in rows], columns=["sentence", "label"]
    )
    frame.to_csv(path, sep=mark, index=False, quoting=quoting)
    table = read_file(path, Layout())
    assert [*table.columns["sentence"]] == [f"{text};," for text, _ in rows]
    assert [*table.columns["label"]] == [str(label) for _, label in rows]
    frame[["sentence"]].to_csv(path, index=False, quoting=quoting)
    assert sentences(path) == [f"{text};," for text, _ in rows]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("write", [write_tsv, write_csv, write_json, write_jsonl])
def test_what_a_file_is_written_in_is_told_by_its_first_bytes(
    tmp_path: Path, encoding: str, write: Callable[[Path, Rows], None]
) -> None:
    write(tmp_path / "new", [(UMLAUTS, 1)])
    (path,) = tmp_path.iterdir()
    mark = "\ufeff" if encoding[-3:] in {"-le", "-be"} else ""
    path.write_bytes((mark + path.read_bytes().decode()).encode(encoding))
    assert sentences(path) == [UMLAUTS]


@pytest.mark.parametrize("length", [131_072, 131_073, 2_000_000])
@pytest.mark.parametrize("write", [write_tsv, write_csv])
def test_a_field_may_be_of_any_length(
    tmp_path: Path, write: Callable[[Path, Rows], None], length: int
) -> None:
    write(tmp_path / "new", [("a" * length, 1)])
    (path,) = tmp_path.iterdir()
    assert list(map(len, sentences(path))) == [length]


@pytest.mark.parametrize("raw", [[one] for one in RAW_SENTENCES] + [RAW_SENTENCES])
@pytest.mark.parametrize("more", [[], [AS_IF_QUOTED]])
def test_a_quote_is_a_character_where_the_quoting_is_not_of_one_kind(
    tmp_path: Path, raw: list[str], more: list[str]
) -> None:
    texts = [*raw, *more]
    write_tsv(tmp_path / "new", [(text, 1) for text in texts])
    assert sentences(tmp_path / "new.tsv") == texts


def test_files_of_glue_itself_are_never_unquoted(tmp_path: Path) -> None:
    path = tmp_path / "new.tsv"
    path.write_text(f"src\t1\t*\t{AS_IF_QUOTED}\n")
    assert sentences(path, Layout(raw_columns=RAW, header=RAW[3:])) == [AS_IF_QUOTED]
    write_tsv(path, [(AS_IF_QUOTED, 1)])
    assert sentences(path, Layout(skip_short_rows=True)) == [AS_IF_QUOTED]


def read(folder: Path, text: str, name: str = "rows.csv") -> dict[str, list[str]]:
    (folder / name).write_bytes(text.encode())
    return {name: list(cells) for name, cells in read_file(folder / name, Layout()).columns.items()}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", ";", "|"])
def test_the_line_that_names_the_separator_is_no_header(
    tmp_path: Path, mark: str, end: str
) -> None:
    lines = [f"sep={mark}", f"text{mark}label", f"a b{mark}1"]
    assert read(tmp_path, end.join(lines)) == {"text": ["a b"], "label": ["1"]}
    with pytest.raises(GoftError, match="line 4: found 1 fields"):
        read(tmp_path, end.join([*lines, "a"]))


@pytest.mark.parametrize("head", ["text,label", "text,label,,"])
@pytest.mark.parametrize("row", ["a b,1", "a b,1,", "a b,1,,,"])
def test_empty_columns_of_a_spreadsheet_are_left_out(tmp_path: Path, head: str, row: str) -> None:
    table = {"text": ["a b"], "label": ["1"]}
    assert read(tmp_path, f"{head}\n{row}\n") == table
    with pytest.raises(GoftError, match="line 3: found 3 fields"):
        read(tmp_path, f"text,label\n{row}\na b,1,2\n")
