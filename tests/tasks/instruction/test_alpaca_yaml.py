"""The Alpaca task is the paper's Table 7, and the adapters have its parameter counts."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from goft_cli.adapters import attach_adapter, count_parameters
from goft_cli.backbone import Backbone
from goft_cli.config import (
    DatasetConfig,
    Dtype,
    GoftAdapterConfig,
    InstructionConfig,
    Scheduler,
    TrainConfig,
)
from goft_cli.errors import GoftError
from tests.cells import cell
from tests.small import composed

# Table 7 of arXiv:2404.04316v2: learning rate, and qGOFT's regularisation strength.
TABLE7 = {
    "goft": (1.0e-4, 0.0),
    "qgoft": (1.0e-4, 0.01),
    "lora": (5.0e-5, None),
    "oft": (5.0e-5, None),
}
COUNTS = {"goft": 524_160, "qgoft": 2_096_640}


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


@pytest.mark.parametrize("adapter", COUNTS)
def test_parameter_counts_of_llama2_7b(adapter: str) -> None:
    cfg = composed(["task=instruct/alpaca", "model=llama2-7b", f"adapter={adapter}"])
    assert isinstance(cfg.adapter, GoftAdapterConfig)
    with torch.device("meta"):
        # LlamaConfig's own defaults are the sizes of Llama 2 7B
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=32, hidden_size=4096))
        backbone = Backbone(model, None, "")
        adapted = attach_adapter(
            backbone, cfg.adapter, cfg.model.head_modules, "AutoModelForCausalLM", updates=1
        )
    counts = count_parameters(adapted, cfg.model.head_modules)
    assert (counts.adapter, counts.head) == (COUNTS[adapter], 0)
    assert counts.total - counts.adapter == 6_738_415_616
