"""A run records the name of the model in `model.path`, even if `model=` names another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from goft_cli.config import ModelConfig
from goft_cli.config.model import real_name
from goft_cli.run import pipeline, summary
from goft_cli.system.locations import asset_dir
from tests.support.recipe_cells import MODELS, alone
from tests.support.small_runs import composed


def test_a_model_in_its_own_place_keeps_its_name() -> None:
    for model in MODELS:
        settings = alone(f"model/{model}")
        assert isinstance(settings, ModelConfig)
        assert real_name(settings) == model


@pytest.mark.parametrize(
    ("model", "path", "name"),
    [
        ("tiny-llama", "/data/phi3", "phi3 (settings of tiny-llama)"),
        ("tiny-llama", "./phi3/", "phi3 (settings of tiny-llama)"),
        ("tiny-llama", "someone/phi3", "phi3 (settings of tiny-llama)"),
        ("vit-b16-qv", "/data/vit", "vit (settings of vit-b16-qv)"),
        ("llama2-7b", "/data/Llama-2-7b-hf", "llama2-7b"),
        ("llama2-7b", "/data/llama2-7b", "llama2-7b"),
        ("deberta-v3-base", "/hub/models--microsoft--deberta-v3-base/snapshots/8ccc", None),
        ("deberta-v3-base", "/hub/models--me--mine/snapshots/8ccc", "mine (settings of {})"),
    ],
)
def test_another_folder_gives_its_own(model: str, path: str, name: str | None) -> None:
    words = ["task=demo/acceptability", f"model={model}", f"model.path={path}"]
    assert real_name(composed(words).model) == (name or model).format(model)


def test_the_log_the_recipe_and_the_scores_name_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(asset_dir("tiny-deberta-v3"), tmp_path / "another")
    words = [f"model.path={folder}", "model=tiny-deberta-v3", f"output_dir={tmp_path / 'run'}"]
    cfg = composed([*words, "task=demo/acceptability", "trainer.use_cpu=true"])
    with caplog.at_level("INFO"):
        summary.announce(cfg, {}, {})
    assert summary.describe_recipe(cfg).count("another") == 1
    assert "another (settings of tiny-deberta-v3)" in caplog.text


@pytest.mark.slow
def test_a_finished_run_names_it(tmp_path: Path) -> None:
    folder = shutil.copytree(asset_dir("tiny-deberta-v3"), tmp_path / "another")
    words = [f"model.path={folder}", "model=tiny-deberta-v3", f"output_dir={tmp_path / 'run'}"]
    words += ["task=demo/acceptability", "trainer.use_cpu=true", "trainer.max_steps=1"]
    run = pipeline.run(composed(words))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["model"] == "another (settings of tiny-deberta-v3)"
