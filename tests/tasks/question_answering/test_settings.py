"""The composed SQuAD task has the published settings, and refuses values out of range."""

from __future__ import annotations

import pytest

from goft_cli.config import GoftAdapterConfig, QuestionAnsweringConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task
from tests.support.recipe_cells import cell
from tests.support.small_runs import composed

# Table 8 of arXiv:2404.04316v2, DeBERTaV3-base; the last value is qGOFT's regularisation strength.
BATCH, EPOCHS, RATE, PENALTY = 32, 10, 8.0e-4, 0.001
# AdaLoRA's script for SQuAD v2, which has the window of transformers' run_qa.py.
WARMUP, WEIGHT_DECAY, LORA_RATE, LORA_BATCH = 1000, 0.0, 1.0e-3, 16


@pytest.mark.parametrize(("adapter", "penalty"), [("goft", 0.0), ("qgoft", PENALTY)])
def test_the_composed_recipe_is_the_papers(adapter: str, penalty: float) -> None:
    cfg = cell("squad/v1", adapter)
    assert cfg.trainer.per_device_train_batch_size == BATCH
    assert cfg.trainer.gradient_accumulation_steps == 1
    assert cfg.trainer.num_train_epochs == EPOCHS
    assert cfg.trainer.learning_rate == RATE
    assert isinstance(cfg.adapter, GoftAdapterConfig)
    assert cfg.adapter.penalty_weight == penalty
    assert cfg.task.recipe.model == "deberta-v3-base"


def test_what_the_paper_leaves_open_is_adaloras() -> None:
    trainer = cell("squad/v1", "lora").trainer
    assert (trainer.warmup_steps, trainer.weight_decay) == (WARMUP, WEIGHT_DECAY)
    assert (trainer.learning_rate, trainer.per_device_train_batch_size) == (LORA_RATE, LORA_BATCH)
    assert cell("squad/v1", "goft").trainer.warmup_steps == WARMUP
    assert cell("squad/v1", "goft").trainer.weight_decay == WEIGHT_DECAY


def test_windows_and_spans_are_those_of_run_qa() -> None:
    task = cell("squad/v1", "goft").task
    assert isinstance(task, QuestionAnsweringConfig)
    assert (task.max_length, task.doc_stride) == (384, 128)
    assert (task.n_best_size, task.max_answer_length) == (20, 30)
    assert task.benchmark_sizes == {"train": 87599, "validation": 10570}
    assert (task.dataset.id, task.headline) == ("rajpurkar/squad", "f1")


def test_the_head_has_two_outputs() -> None:
    task = build_task(cell("squad/v1", "goft").task)
    assert task.model_options() == {"num_labels": 2}
    assert task.label_names == ("start_positions", "end_positions")


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("task.headline=accuracy", r"task\.headline=accuracy .*expected exact_match or f1"),
        ("task.doc_stride=384", r"task\.doc_stride=384 .*below task\.max_length=384"),
        ("task.doc_stride=-1", r"task\.doc_stride=-1 .*at least 0"),
        ("task.max_length=128", r"task\.doc_stride=128 .*task\.max_length=128; pass .*=42"),
        ("task.n_best_size=0", r"task\.n_best_size=0 .*at least 1"),
        ("task.max_answer_length=0", r"task\.max_answer_length=0 .*at least 1"),
    ],
)
def test_a_value_out_of_range_is_refused(word: str, sentence: str) -> None:
    with pytest.raises(GoftError, match=sentence):
        composed(["task=squad/v1", word])
