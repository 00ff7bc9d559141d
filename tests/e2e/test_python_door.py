"""GOFT from Python: the example of docs/peft.md runs, and PenaltyMixin adds the penalty."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

import goft_cli
from goft_cli import penalty, preflight, tuner
from goft_cli.penalty import total_penalty
from goft_cli.system import locations
from goft_cli.tuner import penalty as own_penalty
from tests.conftest import ROOT
from tests.support import small_runs

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory'")  # Trainer's default, on a CPU

ROWS = [{"input_ids": [2, 5, 7 + row % 3, 3], "label": row % 2} for row in range(8)]


class OwnTrainer(goft_cli.PenaltyMixin, Trainer):
    """A Trainer with the mixin, as a user writes it."""


def test_public_paths_are_the_things_themselves() -> None:
    """Check the import paths that pushed model cards and scripts of users contain."""
    assert goft_cli.GoftConfig is tuner.GoftConfig
    assert goft_cli.PenaltyMixin is penalty.PenaltyMixin is own_penalty.PenaltyMixin
    assert penalty.total_penalty is own_penalty.total_penalty
    assert preflight.asset_dir is locations.asset_dir


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_runs.write_model(tmp_path / "model")


def test_the_example_of_its_page_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/peft.md").read_text(), re.S)
    [example] = [block for block in blocks if "PenaltyMixin" in block]
    monkeypatch.chdir(tmp_path)
    names = {"folder": str(folder), "rows": ROWS}
    exec(
        compile(example.replace('"microsoft/deberta-v3-base"', "folder"), "peft.md", "exec"),
        names,
    )
    model: Any = names["model"]
    assert not isinstance(model, PeftModel)
    assert type(model) is type(AutoModelForSequenceClassification.from_pretrained(folder))


def trainer_of(folder: Path, tmp_path: Path, weight: float) -> OwnTrainer:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    config = goft_cli.GoftConfig(
        method="qgoft", penalty_weight=weight, init_weights=False, target_modules=["query"]
    )
    adapted = get_peft_model(model, config)
    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=1, logging_steps=1, use_cpu=True, report_to=[]
    )
    return OwnTrainer(model=adapted, args=arguments, train_dataset=ROWS)


def model_of(trainer: OwnTrainer) -> nn.Module:
    assert isinstance(trainer.model, nn.Module)
    return trainer.model


def test_the_penalty_reaches_the_gradient_and_is_logged_apart(folder: Path, tmp_path: Path) -> None:
    plain = trainer_of(folder, tmp_path, 0.0)
    plain.train()
    penalised = trainer_of(folder, tmp_path, 0.5)  # after train(): it sets the dropout's seed
    penalised.train()
    first, second = (trainer.state.log_history[0] for trainer in (plain, penalised))
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-6)
    assert "penalty" not in first
    start = model_of(trainer_of(folder, tmp_path, 0.5)).train()
    start(input_ids=torch.tensor([[2, 3]]))
    expected = total_penalty(start)
    assert expected is not None
    assert second["penalty"] == pytest.approx(float(expected.detach()), rel=1e-6)
    weights = [dict(model_of(t).named_parameters()) for t in (plain, penalised)]
    turned = [name for name in weights[0] if "goft_rotation" in name]
    assert turned
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in turned)
