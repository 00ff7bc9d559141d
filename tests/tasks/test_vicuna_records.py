"""A file of JSON lines that is cut anywhere keeps its whole lines and can be continued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.system.errors import GoftError
from goft_cli.tasks.vicuna.questions import Records

rows_of_text = st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.integers()}), min_size=1)


@given(rows=rows_of_text, data=st.data())
def test_a_torn_line_is_cut_off_and_nothing_else(
    rows: list[dict[str, Any]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = Records(tmp_path_factory.mktemp("records") / "deep" / "rows.jsonl")
    assert records.read() == []
    for row in rows:
        records.append(row)
    assert records.read() == rows
    content = records.path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    records.path.write_bytes(content[:cut])
    kept = rows[: content[:cut].count(b"\n")]
    assert records.read() == kept
    records.append(rows[0])
    assert records.read() == [*kept, rows[0]]


def test_a_spoilt_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a"\n{"a": 3}\n', encoding="utf-8")
    with pytest.raises(GoftError, match=r"rows.jsonl, line 2: not JSON"):
        Records(path).read()
