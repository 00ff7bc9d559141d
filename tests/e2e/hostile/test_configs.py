"""Values of the right type that no run can use are refused with one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from goft_cli.compose.composition import freeze
from goft_cli.config import TrainConfig
from goft_cli.run.preflight import check_inputs
from tests.support.recipe_cells import cell
from tests.support.refusals import refusal

LEADS_OUT = "leads out of its folder"
RANGE = "is out of range"

CASES: list[tuple[str, object, str]] = [
    ("run_name", "../../x", LEADS_OUT),
    ("run_name", "/etc/x", LEADS_OUT),
    ("run_name", "", LEADS_OUT),
    ("run_name", "a//b", LEADS_OUT),
    ("run_name", "..\\..\\x", LEADS_OUT),
    ("run_name", "a\0b", LEADS_OUT),
    ("run_name", "a\nb", LEADS_OUT),
    ("task.name", "../x", LEADS_OUT),
    ("model.name", "..", LEADS_OUT),
    ("adapter.name", "a/../../b", LEADS_OUT),
    ("task.eval_splits", ["../x"], LEADS_OUT),
    ("task.eval_splits", ["validation", "/x"], LEADS_OUT),
    ("model.path", "asset:../../etc", "tiny-deberta-v3"),
    ("model.path", "asset:", "tiny-deberta-v3"),
    ("model.path", "./nowhere", "no such folder"),
    ("model.path", "~nobody/x/", "no such folder"),
    ("model.path", "/dev/null", "is a device"),
    ("task.data_dir", "nowhere", "no such folder"),
    ("task.data_dir", "/dev/null", "is a device"),
    ("output_dir", "/dev/null/x", "output_dir"),
    ("seed", 2**32, RANGE),
    ("trainer.learning_rate", float("nan"), RANGE),
    ("trainer.learning_rate", float("inf"), RANGE),
    ("trainer.learning_rate", 0.0, RANGE),
    ("trainer.num_train_epochs", float("inf"), RANGE),
    ("trainer.num_train_epochs", -1.0, RANGE),
    ("trainer.warmup_steps", float("inf"), RANGE),
    ("trainer.weight_decay", float("nan"), RANGE),
    ("trainer.max_grad_norm", -0.1, RANGE),
    ("trainer.max_steps", 0, RANGE),
    ("trainer.max_steps", -5, RANGE),
    ("trainer.per_device_train_batch_size", 0, RANGE),
    ("trainer.logging_steps", 0, RANGE),
    ("trainer.dataloader_num_workers", -1, RANGE),
    ("adapter.penalty_weight", float("inf"), RANGE),
    ("adapter.penalty_weight", -0.1, RANGE),
    ("task.max_length", 1, RANGE),
    ("task.classifier_dropout", 1.0, RANGE),
    ("task.classifier_dropout", -0.1, RANGE),
]


@pytest.mark.parametrize(("key", "value", "said"), CASES)
def test_a_bad_value_is_refused(
    key: str, value: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = OmegaConf.structured(cell("demo/acceptability", "qgoft"))
    OmegaConf.update(cfg, key, value)
    sentence = refusal(lambda: check_inputs(freeze(cfg, TrainConfig)), tmp_path)
    assert said in sentence
    assert key.rpartition("_")[0] in sentence
