"""Evaluation sorts inputs by length and restores their order; `verify` names its share of rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from goft_cli.models.backbone import load_backbone
from goft_cli.run import outcome, pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.system.locations import data_root
from goft_cli.tasks.base import Arrays, Inputs, Split, Task
from goft_cli.tasks.families import FAMILIES, build_task
from goft_cli.training import evaluation
from goft_cli.training.by_length import LongestFirst
from goft_cli.training.evaluation import join_batches, run_model, score_splits
from goft_cli.training.trainer import training_arguments
from tests.support import small_runs
from tests.support.recipe_cells import data_of

DEMOS = {
    config["defaults"][0].removeprefix("/schema/task/").partition("@")[0]: config
    for path in (data_root() / "configs" / "task" / "demo").glob("*.yaml")
    if (config := yaml.safe_load(path.read_text()))
}
"""The YAML of the demo task of each task family that has one."""
TINY = ("model=tiny-deberta-v3",)
BATCH, ROWS = 7, 30
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=60)


def inputs_of(lengths: list[int]) -> Dataset:
    """Return inputs of these lengths; each token id is the input's index."""
    return Dataset.from_dict({"input_ids": [[at] * size for at, size in enumerate(lengths)]})


def sizes(inputs: Inputs) -> list[int]:
    return [len(ids) for ids in cast(Dataset, inputs)["input_ids"]]


@settings(deadline=None, max_examples=50)
@given(LENGTHS)
def test_lengths_fall_and_outputs_come_back(lengths: list[int]) -> None:
    ordered = LongestFirst.of(inputs_of(lengths))
    assert sizes(ordered.inputs) == sorted(lengths, reverse=True)
    places = np.array([ids[0] for ids in cast(Dataset, ordered.inputs)["input_ids"]])
    one, other = cast("tuple[np.ndarray, ...]", ordered.restore((places, places[:, None])))
    assert one.tolist() == other[:, 0].tolist() == list(range(len(lengths)))


@settings(deadline=None, max_examples=50)
@given(LENGTHS, st.integers(1, 9), st.integers(1, 70))
def test_a_sample_is_whole_batches_which_sorting_makes_again(
    lengths: list[int], batch: int, most: int
) -> None:
    whole = LongestFirst.of(inputs_of(lengths))
    places = whole.sample(batch, most)
    assert np.array_equal(places, whole.sample(batch, most)), "always the same"
    assert np.all(np.diff(places) > 0)
    if len(lengths) <= most:
        assert len(places) == len(lengths)
        return
    assert 0 < len(places) <= max(most, batch)
    order = whole.order.tolist()
    batches = [order[at : at + batch] for at in range(0, len(order), batch)]
    again = places[LongestFirst.of(inputs_of(lengths).select(places)).order].tolist()
    assert all(again[at : at + batch] in batches for at in range(0, len(again), batch))


@pytest.mark.parametrize("shapes", [[(2, 3), (1, 3)], [(2, 3), (2, 5), (1, 4)], [(3,), (1,)]])
def test_the_outputs_of_batches_are_joined(shapes: list[tuple[int, ...]]) -> None:
    batches = [np.ones(shape, np.float64) for shape in shapes]
    whole = cast(np.ndarray, join_batches(batches))
    assert whole.dtype == np.float32
    assert len(whole) == sum(len(batch) for batch in batches)
    assert whole[whole == 1].size == sum(batch.size for batch in batches)
    assert set(whole[whole != 1]) <= {evaluation.PADDING}
    places = cast(
        "tuple[np.ndarray, ...]", join_batches([(batch.astype(np.int32),) for batch in batches])
    )
    assert places[0].dtype == np.int32


Sides = tuple[Task[Any, Any], Callable[[], Arrays], Split, list[list[int]]]


def demo_run(family: str, folder: Path) -> Sides:
    """Return a family's task, a function that runs its shipped model, the rows, and a list.

    The function runs the model on the rows, and adds the row lengths of each batch to the list.
    """
    demo, split_name = DEMOS.get(family), "validation"
    if demo is None:
        words, split_name = ["task=own/tokens", *data_of("own/tokens"), *TINY], "train"
    else:
        words = [f"task={demo['name']}", f"model={demo['recipe']['model']}"]
    words += ["trainer.use_cpu=true", f"trainer.per_device_eval_batch_size={BATCH}"]
    cfg = small_runs.composed(words)
    assert cfg.task.family == family
    task = build_task(cfg.task)
    rows = task.load().splits[split_name].select(range(ROWS))
    backbone = load_backbone(cfg.model, task)
    split = Split(rows, task.encode(rows, backbone.processor))
    collate, batches = task.collate(backbone.processor), []

    def spying(features: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate(features)
        if "input_ids" in features[0]:
            batches.append([len(row["input_ids"]) for row in features])
            assert batch["input_ids"].shape[1] == max(batches[-1]), "no wider than its longest"
        return batch

    arguments = training_arguments(cfg, folder, task)

    def run() -> Arrays:
        splits = {"validation": split}
        return run_model(backbone.model, task, splits, spying, arguments)["validation"]

    return task, run, split, batches


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_are_those_of_unsorted_rows(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, run, split, batches = demo_run(family, tmp_path)
    found = run()
    lengths = [size for batch in batches for size in batch]
    assert lengths == sorted(lengths, reverse=True)
    assert all(len(batch) == BATCH for batch in batches[:-1])
    monkeypatch.setattr(evaluation, "LongestFirst", Unsorted)
    plain = run()
    assert_alike(task.decode(found, split), task.decode(plain, split))
    assert_alike(*(score_splits(task, {"x": one}, {"x": split}) for one in (found, plain)))


class Unsorted(LongestFirst):
    """Keeps the rows in their order."""

    @classmethod
    def of(cls, inputs: Inputs) -> LongestFirst:
        return cls(inputs, np.arange(len(cast(Any, inputs))))


def assert_alike(one: object, other: object) -> None:
    """Check that nested values are equal, numbers up to rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_alike(first, second)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
    else:
        assert one == other


def test_of_a_windows_logits_only_the_best_are_kept(tmp_path: Path) -> None:
    task, run, split, _ = demo_run("question_answering", tmp_path)
    count = cast(Any, task.config).n_best_size
    kept = cast("tuple[np.ndarray, ...]", run())
    assert [values.shape for values in kept] == [(len(cast(Any, split.inputs)), count)] * 4
    assert sum(values.nbytes for values in kept) == 4 * 4 * kept[0].size


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("inputs")
    return small_runs.write_model(root / "model"), small_runs.write_data(root / "data")


@pytest.mark.slow
def test_each_token_counts_alike_in_the_loss_of_an_evaluation(tmp_path: Path) -> None:
    lengths = [1, 30, 2, 25, 1, 1, 9]
    rows = [{"tokens": ["a"] * size, "tags": ["X", *["Y"] * (size - 1)]} for size in lengths]
    for name in ("train", "validation"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    words = ["task=own/tokens", f"task.data_dir={tmp_path}", *TINY, "trainer.use_cpu=true"]
    losses = []
    for size in (1, 3, 64):
        more = [f"trainer.per_device_eval_batch_size={size}", "trainer.max_steps=1"]
        folder = tmp_path / f"run{size}"
        run = pipeline.run(small_runs.composed([*words, *more, f"output_dir={folder}"]))
        history = json.loads((run / "history.json").read_text())["logged"]
        losses += [row["eval_loss"] for row in history if "eval_loss" in row]
    assert losses == [pytest.approx(losses[0], rel=1e-5)] * 3


@pytest.mark.parametrize("rows", [24, 8])
def test_the_proof_says_on_which_rows_it_was_made(
    rows: int,
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran: list[dict[str, int]] = []

    def counting(model: torch.nn.Module, task: Any, splits: Any, *rest: Any) -> dict[str, Arrays]:  # noqa: ANN401
        ran.append({name: len(split.inputs) for name, split in splits.items()})
        return run_model(model, task, splits, *rest)

    monkeypatch.setattr(outcome, "run_model", counting)
    monkeypatch.setattr(outcome, "COMPARED_ROWS", rows)
    more = ["trainer.per_device_eval_batch_size=4", "trainer.num_train_epochs=1"]
    overrides = small_runs.overrides(*folders, tmp_path / "run", *more)
    run = RunFolder(pipeline.run(small_runs.composed(overrides)))
    metrics = json.loads(run.metrics.read_text())
    agreement = metrics["agreement"]
    assert agreement["compared"] == {"validation": {"inputs": rows, "of": 24}}
    assert ("8 of 24" in capsys.readouterr().out) == (rows < 24), "a share is stated on the screen"
    assert ran == [{"validation": rows}] * 2
    assert agreement["reloaded"] == 0.0, "the same batches give the same bits"
    lines = (run.path / "predictions.validation.jsonl").read_text().splitlines()
    assert len(lines) == 24, "the headline itself is of all rows"


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], {"test": 8}), (["verify=full"], {"validation": 30, "test": 40})],
    ids=["headline", "full"],
)
def test_the_proof_takes_the_headlines_split_or_all(
    words: list[str],
    expected: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cfg = small_runs.composed(["task=demo/acceptability", "model=tiny-deberta-v3", *words])
    assert cfg.task.headline_split == "test"
    splits = {}
    for name, count in {"validation": 30, "test": 40}.items():
        inputs = inputs_of([1 + index % 5 for index in range(count)])
        splits[name] = Split(inputs, inputs)
    trainer = replace(cfg.trainer, per_device_eval_batch_size=4, use_cpu=True)
    arguments = training_arguments(replace(cfg, trainer=trainer), tmp_path, build_task(cfg.task))
    monkeypatch.setattr(outcome, "COMPARED_ROWS", 8)
    places = outcome.compared_places(cfg, splits, arguments)
    assert {name: len(at) for name, at in places.items()} == expected
