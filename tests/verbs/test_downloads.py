"""`goft plan` and `goft doctor` tell cached models and datasets from those to download."""

from __future__ import annotations

from pathlib import Path

import pytest

from goft_cli.system.tables import Verdict
from goft_cli.verbs.doctor.inputs import examine_inputs
from goft_cli.verbs.plan.forecast import hub_items
from tests.conftest import Goft
from tests.support import small_runs
from tests.support.hub_caches import cache_dataset, cache_model, turn_to

WORDS = ["task=glue/cola", "model=minilm-l6", "trainer.use_cpu=true"]
MODEL, DATA = "sentence-transformers/all-MiniLM-L6-v2", "nyu-mll/glue"


def test_only_what_has_weights_and_rows_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_to(tmp_path, monkeypatch)
    cfg = small_runs.composed(WORDS)
    cache_dataset(tmp_path, DATA, "sst2")
    snapshot = cache_model(tmp_path, MODEL, weights=False)
    assert hub_items(cfg) == {f"model {MODEL}": False, f"dataset {DATA}": False}
    found = examine_inputs(cfg)
    assert [one.verdict for one in found] == [Verdict.fail, Verdict.fail]
    assert "cached models: none" in found[0].found

    (snapshot / "pytorch_model.bin").touch()
    cache_dataset(tmp_path, DATA, "cola")
    assert hub_items(cfg) == {f"model {MODEL}": True, f"dataset {DATA}": True}
    assert [one.verdict for one in examine_inputs(cfg)] == [Verdict.ok, Verdict.ok]


def test_a_model_of_another_revision_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_to(tmp_path, monkeypatch)
    cache_model(tmp_path, MODEL)
    other = small_runs.composed([*WORDS, f"model.revision={'f' * 40}"])
    assert hub_items(other)[f"model {MODEL}"] is False


def test_a_plan_tells_cached_from_to_be_downloaded(
    goft: Goft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_to(tmp_path / "caches", monkeypatch)
    small_runs.write_model(cache_model(tmp_path / "caches", MODEL))
    answer = goft("plan", *WORDS, "calibrate=false")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert f"cached: model {MODEL}" in lines
    assert f"to download: dataset {DATA}" in lines
