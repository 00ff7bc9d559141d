"""The Alpaca task has the hyperparameters of the paper's Table 7."""

from __future__ import annotations

import pytest

from goft_cli.config import (
    DatasetConfig,
    Dtype,
    InstructionConfig,
    Scheduler,
    TrainConfig,
)
from goft_cli.system.errors import GoftError
from tests.support.recipe_cells import cell
from tests.support.small_runs import composed

# Table 7 of arXiv:2404.04316v2: learning rate, and qGOFT's regularisation strength.
TABLE7 = {"goft": (1.0e-4, 0.0), "qgoft": (1.0e-4, 0.01), "lora": (5.0e-5, None)}


def alpaca(adapter: str) -> TrainConfig:
    return cell("instruct/alpaca", adapter)


@pytest.mark.parametrize("adapter", TABLE7)
def test_the_composed_recipe_is_the_papers(adapter: str) -> None:
    cfg = alpaca(adapter)
    rate, penalty = TABLE7[adapter]
    assert cfg.trainer.learning_rate == rate
    assert getattr(cfg.adapter, "penalty_weight", None) == penalty
    assert cfg.trainer.num_train_epochs == 1
    assert cfg.trainer.per_device_train_batch_size == 32
    assert cfg.trainer.warmup_steps == 50
    assert cfg.trainer.lr_scheduler_type is Scheduler.cosine
    assert cfg.trainer.weight_decay == 0
    assert cfg.trainer.gradient_checkpointing


def test_the_data_is_trained_on_to_its_end() -> None:
    task = alpaca("goft").task
    assert isinstance(task, InstructionConfig)
    assert task.dataset == DatasetConfig(id="yahma/alpaca-cleaned")
    assert task.max_length == 1024
    assert (task.eval_splits, task.headline_split) == ([], "train_sample")
    assert (task.headline, task.greater_is_better) == ("loss", False)
    assert task.packing is False


def test_a_share_kept_back_is_evaluated() -> None:
    task = composed(["task=instruct/alpaca", "task.holdout=0.05"]).task
    assert (task.eval_splits, task.headline_split) == (["validation"], "validation")


@pytest.mark.parametrize(
    "words", [["task.holdout=1"], ["task.holdout=-0.1"], ["task.max_length=1"]]
)
def test_ranges(words: list[str]) -> None:
    key = words[0].partition("=")[0]
    with pytest.raises(GoftError, match=rf"{key}=.* is out of range"):
        composed(["task=instruct/alpaca", *words])


def test_the_model_is_the_papers() -> None:
    model = composed(["task=instruct/alpaca", "model=llama2-7b"]).model
    assert model.target_modules == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert model.dtype is Dtype.bfloat16
    assert alpaca("goft").task.recipe.model == model.name
