"""AdaLoRA: the penalty is apart from the loss, ranks fall on schedule, runs resume exactly."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaLoraConfig, PeftModel, get_peft_model
from peft.tuners.adalora import AdaLoraModel
from safetensors.torch import load_file
from torch import Tensor

from goft_cli.config import AdaLoraAdapterConfig
from goft_cli.models.adalora import AdaLora, RankAllocation, separate_penalty
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.system.errors import GoftError
from goft_cli.training.trainer import update_count
from goft_cli.tuner.penalty import total_penalty
from tests.support import short_training as training
from tests.support import small_runs
from tests.support.recipe_cells import cell

# AdaLoRA's scripts for DeBERTaV3-base (NLU/scripts of QingruZhang/AdaLoRA): epochs, learning rate,
# initial and target rank, alpha, initial and final updates without a drop, updates between drops,
# weight of the penalty; all with 32 examples per update. Last, rows of the training split.
SCRIPTS = {
    "glue/mnli": (7, 5.0e-4, 3, 1, 16, 8000, 50000, 100, 0.1, 392702),
    "glue/sst2": (24, 8.0e-4, 2, 1, 16, 6000, 22000, 100, 0.1, 67349),
    "glue/cola": (25, 8.0e-4, 3, 1, 32, 800, 3500, 10, 0.1, 8551),
    "glue/qqp": (5, 8.0e-4, 2, 1, 16, 8000, 25000, 100, 0.1, 363846),
    "glue/qnli": (5, 5.0e-4, 2, 1, 32, 2000, 8000, 100, 0.1, 104743),
    "glue/rte": (50, 1.2e-3, 2, 1, 32, 600, 1800, 1, 0.3, 2490),
    "glue/mrpc": (30, 1.0e-3, 2, 1, 32, 600, 1800, 1, 0.1, 3668),
    "glue/stsb": (25, 2.2e-3, 2, 1, 32, 800, 2000, 10, 0.3, 5749),
    # 16 examples per update, NLG_QA/scripts for SQuAD v2; epochs and schedule for v1.1 by AdaKron
    "squad/v1": (10, 1.0e-3, 2, 1, 16, 5000, 25000, 100, 0.1, 87599),
}
LAYERS = 12


def tuner(model: PeftModel) -> AdaLora:
    assert isinstance(model.base_model, AdaLora)
    return model.base_model


def batch() -> dict[str, Tensor]:
    return {key: torch.tensor(value) for key, value in training.rows()[:4].items()}


@pytest.mark.parametrize("task", SCRIPTS)
def test_what_is_composed_is_the_script(task: str) -> None:
    epochs, rate, initial, target, alpha, first, last, interval, weight, rows = SCRIPTS[task]
    cfg = cell(task, "adalora")
    batch_size = 16 if task == "squad/v1" else 32
    assert cfg.trainer.num_train_epochs == epochs
    assert cfg.trainer.learning_rate == rate
    assert cfg.trainer.per_device_train_batch_size == batch_size
    updates = epochs * math.ceil(rows / batch_size)
    given = cfg.adapter.peft_options(updates)
    assert (given["init_r"], given["target_r"], given["lora_alpha"]) == (initial, target, alpha)
    assert (given["tinit"], given["tfinal"], given["total_step"]) == (first, last, updates)
    assert (given["deltaT"], given["orth_reg_weight"]) == (interval, weight)
    assert (given["beta1"], given["beta2"]) == (0.85, 0.85)


def test_only_adalora_trains_for_its_own_epochs() -> None:
    assert cell("glue/cola", "lora").trainer.num_train_epochs == 20


def options(updates: int, **values: float) -> dict[str, Any]:
    given: dict[str, Any] = {"init_r": 3, "target_r": 2, "lora_alpha": 32.0, "deltaT": 1}
    given |= {"tinit": 0.1, "tfinal": 0.5, "orth_reg_weight": 0.1, **values}
    return AdaLoraAdapterConfig(name="adalora", **given).peft_options(updates)


@pytest.mark.parametrize(
    ("tinit", "tfinal", "found"), [(0.1, 0.5, (20, 100)), (30, 50, (30, 50)), (0, 1e-3, (0, 1))]
)
def test_shares_become_updates(tinit: float, tfinal: float, found: tuple[int, int]) -> None:
    given = options(200, tinit=tinit, tfinal=tfinal)
    assert (given["tinit"], given["tfinal"]) == found
    assert given["total_step"] == 200


def test_a_schedule_longer_than_the_run_is_refused() -> None:
    with pytest.raises(GoftError, match=r"tinit=800 .*tfinal=0.5: .* 1000 updates"):
        options(1000, tinit=800)


@pytest.mark.parametrize("key", ["tfinal", "deltaT", "orth_reg_weight"])
def test_ranges(key: str) -> None:
    with pytest.raises(GoftError, match=rf"adapter.{key}=-1 is out of range"):
        options(10, **{key: -1})


def test_a_budget_that_does_not_fall_is_refused() -> None:
    with pytest.raises(GoftError, match=r"adapter.init_r=2 .* 3"):
        small_runs.composed(["adapter=adalora", "adapter.init_r=2"])


def test_fp16_is_refused() -> None:
    with pytest.raises(GoftError, match=r"trainer.fp16=true: .*trainer.bf16=true"):
        small_runs.composed(["adapter=adalora", "trainer.fp16=true"])


@pytest.mark.parametrize("rows", [8, 9, 15, 48])
@pytest.mark.parametrize(("batch_size", "accumulate"), [(8, 1), (4, 3)])
@pytest.mark.parametrize(
    "more",
    [{"num_train_epochs": 2.5}, {"max_steps": 5}, {"dataloader_drop_last": True}],
    ids=" ".join,
)
def test_the_number_of_updates_is_trainers(
    rows: int, batch_size: int, accumulate: int, more: dict[str, float]
) -> None:
    options = {"max_steps": -1, **more}
    model = training.adapted("lora")
    trainer = training.trainer(model, batch=batch_size, accumulate=accumulate, **options)
    trainer.train_dataset = training.rows(rows)
    *_, expected = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    assert update_count(rows, trainer.args, processes=1) == expected


def test_the_penalty_is_pefts_and_counts_once() -> None:
    model = training.adapted("adalora").train()
    ours = tuner(model)
    loss = model(**batch()).loss
    in_pefts = AdaLoraModel.forward(ours, **batch()).loss
    penalty = total_penalty(model)
    assert penalty is not None
    torch.testing.assert_close(penalty, in_pefts - loss)


def test_evaluation_has_no_penalty() -> None:
    model = training.adapted("adalora").eval()
    model(**batch())
    assert total_penalty(model) is None


def ranks(tensors: dict[str, Tensor]) -> int:
    return sum(int((value != 0).sum()) for key, value in tensors.items() if "lora_E" in key)


def test_the_schedule_ends_where_trainer_does() -> None:
    model = training.adapted("adalora")
    trainer = training.trainer(model, batch=8, max_steps=training.STEPS - 2)
    trainer.add_callback(RankAllocation(tuner(model)))
    trainer.train()
    assert tuner(model).trained[1].total_step == training.STEPS - 2
    layers = len(training.TARGETS) * 2
    assert ranks(dict(tuner(model).factors())) == 2 * layers


def start(folder: Path) -> RunFolder:
    """Train in a folder beside the inputs; the ranks fall in updates 3 to 12 of 18."""
    words = [
        "adapter=adalora",
        "adapter.deltaT=1",
        "adapter.tfinal=7",
        "trainer.learning_rate=0.02",
    ]
    words += ["trainer.num_train_epochs=3", "trainer.save_total_limit=3"]
    inputs = folder.parent / "model", folder.parent / "data"
    return RunFolder(
        pipeline.run(small_runs.composed(small_runs.overrides(*inputs, folder, *words)))
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    root = tmp_path_factory.mktemp("adalora")
    small_runs.write_model(root / "model")
    small_runs.write_data(root / "data")
    return start(root / "whole")


def weights(run: RunFolder, step: int) -> dict[str, Tensor]:
    return load_file(run.checkpoints / f"checkpoint-{step}" / "adapter_model.safetensors")


def test_the_ranks_fall_to_the_budget_and_stay(whole: RunFolder) -> None:
    assert LAYERS < ranks(weights(whole, 6)) < 3 * LAYERS
    assert ranks(weights(whole, 12)) == ranks(weights(whole, 18)) == LAYERS
    assert "mean rank" in whole.log.read_text()
    state = json.loads((whole.checkpoints / "checkpoint-18" / "trainer_state.json").read_text())
    assert any(row.get("penalty", 0) > 0 for row in state["log_history"])


@pytest.mark.slow
@pytest.mark.parametrize("cut", [6, 12])
def test_a_resumed_run_is_the_uninterrupted_one(cut: int, whole: RunFolder) -> None:
    run = RunFolder(shutil.copytree(whole.path, whole.path.parent / f"cut{cut}"))
    run.metrics.unlink()
    shutil.rmtree(run.adapter)
    for step in range(cut + 6, 19, 6):
        shutil.rmtree(run.checkpoints / f"checkpoint-{step}")
    start(run.path)
    assert f"resuming from checkpoint-{cut}" in run.log.read_text()
    resumed = weights(run, 18)
    for name, tensor in weights(whole, 18).items():
        assert torch.equal(resumed[name], tensor), name


def test_a_backbone_in_half_precision_trains_no_count_of_ranks() -> None:
    backbone = training.tiny_bert().bfloat16()
    budget = AdaLoraConfig(
        init_r=3, target_r=2, tinit=1, tfinal=1, total_step=6, target_modules=training.TARGETS
    )
    model = separate_penalty(get_peft_model(backbone, budget))
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert trained
    assert not [name for name in trained if "ranknum" in name]
