"""The VTAB-1K tasks have the published settings."""

from __future__ import annotations

import pytest

from goft_cli.config import GoftAdapterConfig, Scheduler, Transform, VtabConfig
from goft_cli.tasks.families import build_task
from tests.support.recipe_cells import CHOICES, alone, cell
from tests.support.small_runs import composed

NATURAL, SPECIALIZED, STRUCTURED = "natural", "specialized", "structured"
# FacT's class counts; test images of the public folder.
TASKS = {
    "cifar": (NATURAL, 100, 10000),
    "caltech101": (NATURAL, 102, 6085),
    "dtd": (NATURAL, 47, 1880),
    "oxford_flowers102": (NATURAL, 102, 6149),
    "oxford_iiit_pet": (NATURAL, 37, 3669),
    "svhn": (NATURAL, 10, 26032),
    "sun397": (NATURAL, 397, 21750),
    "patch_camelyon": (SPECIALIZED, 2, 32768),
    "eurosat": (SPECIALIZED, 10, 5400),
    "resisc45": (SPECIALIZED, 45, 6300),
    "diabetic_retinopathy": (SPECIALIZED, 5, 42670),
    "clevr_count": (STRUCTURED, 8, 15000),
    "clevr_dist": (STRUCTURED, 6, 15000),
    "dmlab": (STRUCTURED, 6, 22735),
    "kitti": (STRUCTURED, 4, 711),
    "dsprites_loc": (STRUCTURED, 16, 73728),
    "dsprites_ori": (STRUCTURED, 16, 73728),
    "smallnorb_azi": (STRUCTURED, 18, 12150),
    "smallnorb_ele": (STRUCTURED, 9, 12150),
}


def config_of(task: str) -> VtabConfig:
    config = alone(f"task/vtab/{task}")
    assert isinstance(config, VtabConfig)
    return config


def test_all_nineteen_are_there() -> None:
    names = {task for task in CHOICES["task"] if task.startswith("vtab/")}
    assert names == {f"vtab/{task}" for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_what_the_task_fixes(task: str) -> None:
    config = config_of(task)
    group, classes, test = TASKS[task]
    assert (config.group.value, config.classes) == (group, classes)
    sizes = {"train800": 800, "val200": 200, "train800val200": 1000, "test": test}
    assert config.benchmark_sizes == sizes
    assert config.transform is Transform.imagenet
    assert build_task(config).model_options()["num_labels"] == classes


@pytest.mark.parametrize("task", TASKS)
def test_every_recipe_is_table_9(task: str) -> None:
    recipe = config_of(task).recipe
    assert recipe.shared["per_device_train_batch_size"] == 64
    assert recipe.shared["num_train_epochs"] == 100
    assert recipe.shared["weight_decay"] == 1e-4
    assert recipe.by_adapter["goft"] == {"learning_rate": 1e-3}
    assert recipe.by_adapter["qgoft"] == {"learning_rate": 1e-3, "penalty_weight": 0.001}


@pytest.mark.parametrize(("adapter", "penalty"), [("goft", 0.0), ("qgoft", 0.001)])
def test_the_recipe_reaches_trainer_and_adapter(adapter: str, penalty: float) -> None:
    cfg = cell("vtab/cifar", adapter)
    trainer = cfg.trainer
    assert (trainer.per_device_train_batch_size, trainer.num_train_epochs) == (64, 100)
    assert (trainer.learning_rate, trainer.weight_decay) == (1e-3, 1e-4)
    assert isinstance(cfg.adapter, GoftAdapterConfig)
    assert cfg.adapter.penalty_weight == penalty


def test_what_the_paper_leaves_open_is_facts() -> None:
    trainer = cell("vtab/cifar", "goft").trainer
    assert trainer.lr_scheduler_type is Scheduler.fact_cosine
    assert trainer.warmup_steps * trainer.num_train_epochs == 10
    assert (trainer.eval_strategy.value, trainer.eval_steps) == ("steps", 0.1)
    assert (trainer.dataloader_drop_last, trainer.max_grad_norm) == (True, 0)
    assert cell("vtab/cifar", "goft").seed == 42


@pytest.mark.parametrize(
    ("selection", "train", "evaluated"),
    [("val200", "train800", ["val200", "test"]), ("best_on_test", "train800val200", ["test"])],
)
def test_a_selection_means_its_splits(selection: str, train: str, evaluated: list[str]) -> None:
    task = composed(["task=vtab/svhn", f"task.selection={selection}"]).task
    assert (task.train_split, task.eval_splits) == (train, evaluated)
    assert task.headline_split == "test"
    assert config_of("svhn").selection.value == "val200"
