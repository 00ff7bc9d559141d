"""A forecast is made for a batch of the longest rows, or for a stand-in that the model accepts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from goft_cli.tasks.families import build_task
from goft_cli.verbs.plan.batches import (
    largest_batches,
    longest_batch,
    most_text,
    rows_at_hand,
    shape_of,
    stand_in_batch,
)
from goft_cli.verbs.plan.layers import attached
from goft_cli.verbs.plan.memory import traced_bytes
from goft_cli.verbs.plan.steps import Batches
from tests.support import small_runs


def test_the_longest_rows_are_taken() -> None:
    rows = Dataset.from_dict({"text": ["a", "a b c d", "a b", "a b c"]})
    assert most_text(rows, 2)["text"] == ["a b c d", "a b c"]
    assert len(most_text(rows, 9)) == 4
    encoded = Dataset.from_dict({"input_ids": [[1], [1, 2, 3], [1, 2]], "other": [0, 0, 0]})

    def collate(found: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        assert [list(row) for row in found] == [["input_ids"], ["input_ids"]]
        return {"input_ids": torch.zeros(len(found), max(len(row["input_ids"]) for row in found))}

    assert shape_of(longest_batch(encoded, collate, {"input_ids"}, 2)) == (2, 3)


@pytest.mark.parametrize(("most", "rows"), [(5, 5), (64, 24)])
def test_an_evaluation_has_its_own_longest_rows(place: Path, most: int, rows: int) -> None:
    """The validation split has 24 rows, each shorter than the one that is added."""
    longest = "the cat not sleeps . " * 3
    data = shutil.copytree(place / "data", place / f"longer-{most}")
    with (data / "dev.tsv").open("a", encoding="utf-8") as file:
        file.write(f"{longest}\t0\n")
    words = small_runs.overrides(place / "model", data, place / "run")
    cfg = small_runs.composed([*words, f"trainer.per_device_eval_batch_size={most}"])
    task = build_task(cfg.task)
    base = attached(cfg, cfg.adapter).get_base_model()
    batches, notes = largest_batches(cfg, task, task.load(), cast("PreTrainedModel", base))
    assert notes == []
    assert shape_of(batches.trained)[0] == 8
    assert shape_of(batches.scored)[0] == min(most, rows + 1)
    assert shape_of(batches.scored)[1] > shape_of(batches.trained)[1]
    assert batches.scored.keys() == batches.trained.keys()


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        ("model=tiny-deberta-v3 task=glue/stsb task.max_length=16", (2, 16)),
        ("model=tiny-deberta-v3 task=squad/v1 task.max_length=16 task.doc_stride=4", (2, 16)),
        ("model=tiny-llama task=instruct/alpaca task.max_length=16", (2, 16)),
        ("model=tiny-vit task=vtab/cifar", (2, 3, 32, 32)),
    ],
)
def test_a_model_takes_the_stand_in_for_rows_not_at_hand(
    words: str, shape: tuple[int, ...]
) -> None:
    cfg = small_runs.composed(["trainer.use_cpu=true", "adapter=lora", *words.split()])
    task = build_task(cfg.task)
    assert rows_at_hand(task) is None
    model = attached(cfg, cfg.adapter)
    batch = stand_in_batch(task, model.get_base_model(), 2)
    assert shape_of(batch) == shape
    assert min(traced_bytes(model, Batches(batch, batch), cfg.trainer, "cpu")) > 0
