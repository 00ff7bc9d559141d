"""`retained.json` is valid only for the files that it was measured on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config.retain import RetainSpec
from goft_cli.run.folder import RunFolder
from goft_cli.run.retained import MEASURED, NAME, Retained, keep, kept, references_of
from goft_cli.run.trained import spread
from goft_cli.system.files import write_json

FOUND = Retained("[cka]", 1.0, "validation/cka", "1 - CKA", 0.1, {}, {"validation/cka": 0.9})


@pytest.mark.parametrize("place", ["pairs.csv", "."])
def test_references_are_known_by_every_file_of_theirs(place: str, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("one", encoding="utf-8")
    spec = RetainSpec.parse({"probe": str(tmp_path / place)})
    before = references_of(spec)
    assert references_of(spec) == before
    file.write_text("another", encoding="utf-8")
    assert references_of(spec) != before


def test_what_another_version_wrote_is_measured_again(tmp_path: Path) -> None:
    keep(RunFolder(tmp_path), FOUND)
    assert kept(RunFolder(tmp_path)) == [FOUND]
    write_json(tmp_path / NAME, {MEASURED: [asdict(FOUND) | {"later": 1}, {"spec": "[cka]"}]})
    assert kept(RunFolder(tmp_path)) == []


@given(total=st.integers(1, 400), count=st.integers(1, 400))
def test_places_are_spread_over_all_rows(total: int, count: int) -> None:
    places = spread(total, count)
    assert len(places) == min(total, count)
    gaps = [after - before for before, after in zip([*places], [*places[1:], total], strict=True)]
    assert places[0] == 0
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1
