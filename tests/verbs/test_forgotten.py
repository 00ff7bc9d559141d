"""`goft compare` measures forgetting once per run, and along strengths where they exist."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from goft_cli.config import CompareConfig
from goft_cli.config.retain import RetainSpec
from goft_cli.run.record import RunRecord
from goft_cli.system.files import read_json, write_json
from goft_cli.verbs.compare import forgetting
from goft_cli.verbs.compare.figures import draw
from goft_cli.verbs.compare.runs import PlannedRun
from goft_cli.verbs.compare.table import Caption, markdown, summarize, summary_csv
from tests.support.small_runs import copied


@pytest.mark.slow
def test_a_run_is_measured_once_and_ends_where_its_line_does(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "CURVES", ("qgoft",))
    ground = copied(trained, tmp_path / "ground")
    runs = {"qgoft": [PlannedRun((), ground.cfg())]}
    record, wanted = RunRecord(ground.run), RetainSpec.parse("cka")
    cfg = CompareConfig(**vars(record.cfg), adapters=["qgoft"])
    cfg.output_dir = str(tmp_path / "told")
    found = forgetting.measure_all(cfg, runs, wanted)["qgoft"]
    assert found.values == [1 - found.measures["validation/cka"]]
    assert abs(found.line[0][0]) < found.line[1][0] < found.mean
    assert found.line[-1] == pytest.approx((found.mean, record.score))
    monkeypatch.setattr(forgetting, "measure", None)  # nothing is measured again
    monkeypatch.setattr(forgetting, "line_of", None)
    assert forgetting.measure_all(cfg, runs, wanted)["qgoft"] == found
    rows = summarize({"qgoft": [record]}, "qgoft", {}, {"qgoft": found})
    caption = Caption("a task", "a model", "accuracy", "qgoft", "")
    assert f"| {found.mean:.3f} |" in markdown(rows, caption, [])
    assert "forgotten,forgotten_deviation,validation/cka" in summary_csv(rows)
    draw(rows, caption, tmp_path)
    assert (tmp_path / "comparison.png").is_file()
    lost = forgetting.Forgotten(found.runs, [[], *found.lines])
    assert lost.line == []  # one of the runs has no line
    (ground.run.adapter / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TypeError, match="not callable"):  # a changed adapter is measured again
        forgetting.measure_all(cfg, runs, wanted)


@pytest.mark.slow
def test_a_run_without_fractions_has_no_line(trained: Path, tmp_path: Path) -> None:
    ground = copied(trained, tmp_path / "ground")
    file = ground.run.adapter / "adapter_model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "goft_rotation" in name)
    weights[name][0] = torch.tensor([[1.0, 0.0], [0.0, -1.0]])  # a reflection
    save_file(weights, file)
    manifest = read_json(ground.run.manifest)
    manifest["adapter"] = {}
    write_json(ground.run.manifest, manifest)
    assert forgetting.line_of(RunRecord(ground.run), RetainSpec.parse("cka")) == []
