"""Options of transformers' Trainer have their usual effect, also together with the penalty."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION
from transformers.training_args import OptimizerNames

from goft_cli.compose.library_keys import INSTEAD, OWN, arguments, check_extra
from goft_cli.config import Optimizer, Scheduler, TaskConfig
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import TaskData, sampled
from goft_cli.tasks.families import build_task
from goft_cli.training.callbacks import EPOCH_RATES
from goft_cli.training.trainer import training_arguments
from tests.support import short_training as training
from tests.support import small_runs

SMOOTHED = 0.2


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("inputs")
    return small_runs.write_model(root / "model"), small_runs.write_data(root / "data")


def start(folders: tuple[Path, Path], output: Path, *words: str) -> RunFolder:
    chosen = small_runs.overrides(*folders, output, "adapter=qgoft", *words)
    return RunFolder(pipeline.run(small_runs.composed(chosen)))


def test_the_training_ends_when_the_headline_gets_no_better(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ["trainer.num_train_epochs=9", "trainer.early_stopping_threshold=2"]
    run = start(folders, tmp_path / "run", *words, "trainer.early_stopping_patience=2")
    logged = json.loads(run.history.read_text())["logged"]
    scores = [entry for entry in logged if "eval_matthews_correlation" in entry]
    assert [entry["epoch"] for entry in scores] == [1, 2, 3]
    assert "stopped early after update 18 of 54" in run.log.read_text()
    metrics = json.loads(run.metrics.read_text())
    values = [entry["eval_matthews_correlation"] for entry in scores]
    assert metrics["best_checkpoint_step"] == scores[values.index(max(values))]["step"]
    assert metrics["headline"]["value"] == pytest.approx(max(values))


def test_a_smoothed_loss_is_torch_s_and_the_penalty_stays_beside_it() -> None:
    options = {"label_smoothing_factor": SMOOTHED, "max_steps": 1, "seed": 3}
    model = training.adapted("qgoft")
    one = training.trainer(model, batch=training.GLOBAL_BATCH, **options)
    batch = next(iter(one.get_train_dataloader()))
    model.train()
    logits = model(input_ids=batch["input_ids"]).logits
    expected = cross_entropy(logits, batch["labels"], label_smoothing=SMOOTHED)
    one.train()
    first = one.state.log_history[0]
    assert first["loss"] == pytest.approx(expected.item(), abs=1e-4)  # logged to four digits
    assert first["penalty"] > 0


def test_accumulating_a_smoothed_loss_changes_no_weight() -> None:
    def weights(batch: int, accumulate: int) -> list[torch.Tensor]:
        model = training.adapted("qgoft")
        smoothed = {"label_smoothing_factor": SMOOTHED, "max_steps": 2}
        training.trainer(model, batch=batch, accumulate=accumulate, **smoothed).train()
        return [one.detach() for one in model.parameters() if one.requires_grad]

    for whole, parts in zip(weights(8, 1), weights(4, 2), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_a_sample_is_part_of_any_larger_one_and_in_order(sizes: tuple[int, int]) -> None:
    rows = TaskData({"validation": Dataset.from_dict({"place": list(range(41))})})
    found = []
    for size in sorted(sizes):
        config = TaskConfig(max_eval_samples=size, max_train_samples=1)
        data = sampled(rows, config)
        assert data.sampled == {"validation": (size, 41)}
        found.append(list(data.splits["validation"]["place"]))
        assert found[-1] == sorted(set(found[-1]))
        assert len(found[-1]) == size
    assert set(found[0]) <= set(found[1])


def test_a_sample_is_recorded_and_makes_another_run(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ["task.max_train_samples=24", "task.max_eval_samples=99", "trainer.max_steps=2"]
    run = start(folders, tmp_path / "run", *words)
    data = json.loads(run.manifest.read_text())["data"]
    assert data["rows"] == {"train": 24, "validation": 24}
    assert data["sampled"] == {"train": {"rows": 24, "of": 48}}, "and of 24 rows 99 are all"
    assert not data["is_the_benchmark"]
    with pytest.raises(GoftError, match=r"task\.max_train_samples is 24 there and 25 here"):
        start(folders, tmp_path / "run", "task.max_train_samples=25", *words[1:])


def test_a_sample_is_not_the_benchmark_though_its_other_split_is_whole() -> None:
    rows = Dataset.from_dict({"place": [0, 1]})
    data = sampled(TaskData({"train": rows, "test": rows}), TaskConfig(max_train_samples=1))
    assert not data.describe({"test": 2})["is_the_benchmark"]


def test_the_schedules_and_optimizers_are_those_of_transformers() -> None:
    known = {kind.value for kind in TYPE_TO_SCHEDULER_FUNCTION}
    assert {kind.value for kind in Scheduler} - EPOCH_RATES.keys() == known
    assert {kind.value for kind in Optimizer} == {kind.value for kind in OptimizerNames}


def test_every_field_of_the_arguments_is_ours_or_extra_or_refused() -> None:
    known = arguments().keys()
    assert (
        OWN - {"early_stopping_patience", "early_stopping_threshold", "max_tokens_per_batch"}
        <= known
    )
    assert INSTEAD.keys() - {"warmup_ratio"} <= known
    free = known - OWN - INSTEAD.keys()
    assert {"neftune_noise_alpha", "optim_args", "data_seed", "logging_first_step"} <= free


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"neftun_noise": 5}, "did you mean trainer.extra.neftune_noise_alpha"),
        ({"lerning_rate": 5}, "did you mean trainer.learning_rate"),
        ({"learning_rate": 5}, "pass trainer.learning_rate=VALUE"),
        ({"output_dir": "x"}, "pass output_dir=DIR"),
        ({"hub_token": "x"}, "goft push"),
        ({"data_seed": 1.5}, "expected int or None, found float"),
        ({"data_seed": True}, "expected int or None, found bool"),
    ],
)
def test_a_wrong_extra_is_refused(extra: dict[str, object], sentence: str) -> None:
    with pytest.raises(GoftError, match=sentence):
        check_extra(extra)


def test_extras_and_the_schedule_s_arguments_reach_the_trainer(tmp_path: Path) -> None:
    words = ["trainer.extra={neftune_noise_alpha: 5, optim_args: 'momentum=0.9'}"]
    words += ["trainer.lr_scheduler_type=reduce_lr_on_plateau", "trainer.use_cpu=true"]
    cfg = small_runs.composed([*words, "trainer.lr_scheduler_kwargs.patience=0"])
    made = training_arguments(cfg, tmp_path, build_task(cfg.task))
    assert (made.neftune_noise_alpha, made.optim_args) == (5, "momentum=0.9")
    assert made.lr_scheduler_kwargs == {"mode": "max", "patience": 0}


def test_a_schedule_without_its_arguments_is_refused(tmp_path: Path) -> None:
    for word, name in {
        "trainer.lr_scheduler_type=warmup_stable_decay": "num_decay_steps",
        "trainer.lr_scheduler_kwargs.num_cycle=2": "num_cycle",
    }.items():
        cfg = small_runs.composed([word, "trainer.use_cpu=true"])
        with pytest.raises(GoftError, match=f"lr_scheduler_kwargs.*{name}"):
            training_arguments(cfg, tmp_path, build_task(cfg.task))


@pytest.mark.slow
def test_the_learning_rate_falls_where_the_headline_does_not_rise(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ["trainer.num_train_epochs=3", "trainer.lr_scheduler_type=reduce_lr_on_plateau"]
    words += ["trainer.lr_scheduler_kwargs={patience: 0, threshold: 2, threshold_mode: abs}"]
    run = start(folders, tmp_path / "run", *words, "trainer.logging_steps=6")
    logged = json.loads(run.history.read_text())["logged"]
    rates = np.array([entry["learning_rate"] for entry in logged if "loss" in entry])
    assert rates[2] == pytest.approx(0.1 * rates[1])
    assert rates[1] == rates[0]
