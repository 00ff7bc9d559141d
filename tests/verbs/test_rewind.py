"""Check the scores of `goft rewind` against ones computed otherwise, and what it refuses."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from goft_cli.config import TextClassificationConfig
from goft_cli.run import pipeline
from goft_cli.run.trained import open_trained
from goft_cli.studies import rewinding
from goft_cli.studies.rewinding import check_fractions, encoded
from goft_cli.studies.rewinding import rewind as points_of
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json, recorded
from goft_cli.tasks.base import RowScorer, Split
from goft_cli.tuner import strength_of
from goft_cli.verbs.rewind import show, splits_of
from tests.conftest import ROOT, Goft
from tests.support import small_runs
from tests.support.refusals import snapshot

CONTENT: dict[str, Any] = {
    "adapter": "run",
    "task": "chat",
    "model": "small",
    "method": "goft",
    "headline": "loss",
    "greater_is_better": False,
    "head_as_trained": False,
    "split": "validation",
    "rows": 1200,
    "resamples": 200,
    "chosen": 0.5,
    "best": 1.0,
    "held_out": {"chosen": 1.52, "whole": 1.25},
    "test": None,
    "forgetting": {"name": "text/kl", "label": "KL"},
    "points": [
        {
            "strength": at,
            "score": 2.0 - at,
            "standard_error": 0.6,
            "difference": 1 - at,
            "difference_error": 0.1,
            "forgotten": at,
            "chosen_by": 0.5,
            "measures": {"text/kl": at},
        }
        for at in (0.5, 1.0)
    ],
}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw only 20 resamples, since each computes a metric, which takes milliseconds."""
    monkeypatch.setattr(rewinding, "RESAMPLES", 20)


def test_a_run_is_rewound_and_left_as_it_was(goft: Goft, trained: Path, tmp_path: Path) -> None:
    before = snapshot(trained)
    answer = goft("rewind", str(trained), "at=[.5,1.25]", "output_dir=told", "retain=cka")
    assert answer.code == 0, answer.err
    assert snapshot(trained) == before
    found = read_json(tmp_path / "told" / "rewind.json")
    assert [one["strength"] for one in found["points"]] == [0, 0.5, 1, 1.25]
    *_, whole, _ = found["points"]
    assert whole["score"] == read_json(trained / "metrics.json")["headline"]["value"]
    assert (whole["difference"], whole["difference_error"]) == (0, 0)
    assert found["points"][0]["forgotten"] == pytest.approx(0, abs=1e-6)
    assert found["test"] is None
    assert found["held_out"].keys() == {"chosen", "whole"}
    with (tmp_path / "told" / "rewind.csv").open() as file:
        lines = [*csv.DictReader(file)]
    assert [float(line["score"]) for line in lines] == [one["score"] for one in found["points"]]
    assert [line["strength"] for line in lines if line["chosen"] == "1"] == [str(found["chosen"])]
    names = {path.name for path in (tmp_path / "told").iterdir()}
    assert names == {f"rewind.{kind}" for kind in ("json", "md", "csv", "png", "svg")}
    assert "no other labelled split" in answer.out
    assert "The head stays as trained" in answer.out


def mean_logit(outputs: Any, split: Split) -> RowScorer:  # noqa: ANN401 - an array
    """Replace the headline metric by one that changes with every small change of the model."""
    return lambda rows: float(outputs[rows, 0].astype(np.float64).mean())


def test_strength_0_is_the_base_model_under_the_trained_head(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_trained(str(trained), base_model=None)
    monkeypatch.setattr(run.task, "row_scorer", mean_logit)
    named = run.model.named_parameters()
    rotations = [values.data for name, values in named if "goft_rotation" in name]
    for values in rotations:  # the short training hardly turned them
        values += 0.1 * torch.randn(values.shape, generator=torch.Generator().manual_seed(0))
    split = encoded(run, run.task.config.eval_splits[0])
    base, half, whole = points_of(run, [0.0, 0.5, 1.0], None, 8, split)
    assert strength_of(run.model) == 1
    places = np.arange(len(split.rows))
    again = run.outputs(run.model, {"split": split}, 8)["split"]
    assert whole.score == mean_logit(again, split)(places)
    for values in rotations:
        values.copy_(torch.eye(2).expand_as(values))
    outputs = run.outputs(run.model, {"split": split}, 8)["split"]
    assert base.score == pytest.approx(mean_logit(outputs, split)(places), abs=1e-7)
    scores = [base.score, half.score, whole.score]
    assert scores in (sorted(scores), sorted(scores, reverse=True))
    assert min(abs(np.diff(scores))) > 1e-5


def test_the_split_that_chooses_and_the_one_that_does_not() -> None:
    def splits(names: list[str], headline: str) -> tuple[str, str | None]:
        return splits_of(TextClassificationConfig(eval_splits=names, headline_split=headline))

    assert splits(["validation"], "validation") == ("validation", None)
    assert splits(["validation", "extra", "test"], "test") == ("validation", "test")
    assert splits(["validation", "test"], "validation") == ("validation", "test")
    with pytest.raises(GoftError, match=r"no evaluation split.*task\.holdout"):
        splits_of(TextClassificationConfig(name="x", eval_splits=[]))


def test_an_adapter_without_fractions_is_refused_in_a_sentence(trained: Path) -> None:
    run = open_trained(str(trained), base_model=None)
    with torch.no_grad():
        first = next(v for name, v in run.model.named_parameters() if "goft_rotation" in name)
        first[0].copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    with pytest.raises(GoftError, match=r"adapter=.*layer .*determinant") as refused:
        check_fractions(run, [0.0, 0.5])
    assert refused.value.remedy.endswith(f"goft eval adapter={run.folder.path}")
    assert strength_of(run.model) == 1


def test_what_is_written_of_a_loss() -> None:
    text = show.markdown(CONTENT)
    assert "strength 0.5, the smallest whose loss on the 1,200 rows" in text
    assert "within one standard error (0.6000) of the best, 1.0000 at 1" in text
    assert "choices of the resamples score 1.5200 on the rows that each leaves out" in text
    assert "strength 1 scores 1.2500 there" in text
    assert "goft merge adapter=run strength=0.5" in text
    assert "head" not in text
    tests = [{**one, "score": 3.0, "difference": 0.25} for one in CONTENT["points"]]
    (note,) = [show.tested({**CONTENT, "test": {"split": "test", "rows": 7, "points": tests}})]
    assert "3.0000 ± 0.6000 at strength 0.5" in note
    assert "difference +0.2500 ± 0.1000" in note
    left, right = show.draw(CONTENT).axes
    within, scores, ring = (np.asarray(one.get_ydata()).tolist() for one in left.lines)
    assert (within, scores, ring) == ([1.6, 1.6], [1.5, 1.0], [1.5])
    assert np.asarray(right.lines[0].get_ydata()).tolist() == [0.5, 1.0]
    assert len(show.draw({**CONTENT, "forgetting": None}).axes) == 1


@pytest.mark.slow
def test_files_are_noted_and_the_report_shows_the_picture(
    goft: Goft, trained: Path, tmp_path: Path
) -> None:
    ground = small_runs.copied(trained, tmp_path / "ground")
    run = str(ground.run.path)
    assert goft("rewind", run, "at=1", "retain=null").code == 0
    assert {"rewind.json", "rewind.png"} <= recorded(ground.run.path)
    assert goft("report", f"runs={run}").code == 0
    page = (ground.run.path / "report" / "report.html").read_text()
    assert "At fractions of its strength" in page
    assert (ground.run.path / "report" / "strength-1.png").is_file()


@pytest.mark.slow
def test_the_test_split_is_scored_at_the_chosen_strength(goft: Goft, tmp_path: Path) -> None:
    run = ROOT / "tests" / "fixtures" / "runs" / "lora"
    answer = goft("rewind", str(run), "at=[.9]", "output_dir=told", "retain=null")
    assert answer.code == 0, answer.err
    found = read_json(tmp_path / "told" / "rewind.json")
    at = [one["strength"] for one in found["test"]["points"]]
    assert at == sorted({found["chosen"], 1.0})
    whole = found["test"]["points"][-1]["score"]
    assert whole == pytest.approx(read_json(run / "metrics.json")["headline"]["value"], abs=1e-6)


@pytest.mark.slow
def test_reflections_are_refused_before_data_is_read(goft: Goft, tmp_path: Path) -> None:
    places = small_runs.write_model(tmp_path / "model"), small_runs.write_data(tmp_path / "data")
    words = small_runs.overrides(*places, tmp_path / "run", "adapter=hra", "trainer.max_steps=1")
    run = pipeline.run(small_runs.composed(words))
    shutil.rmtree(tmp_path / "data")
    answer = goft("rewind", str(run))
    assert answer.code == 2
    assert "HRA is a product of reflections" in answer.err
