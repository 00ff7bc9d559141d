"""The batch that a forecast is made for: the longest rows, or a stand-in that the model takes."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset

from goft_cli.tasks.families import build_task
from goft_cli.verbs.plan.batches import (
    longest_batch,
    most_text,
    rows_at_hand,
    shape_of,
    stand_in_batch,
)
from goft_cli.verbs.plan.layers import attached
from goft_cli.verbs.plan.memory import step_bytes
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
    assert step_bytes(model, batch, cfg.trainer, "cpu") > 0
