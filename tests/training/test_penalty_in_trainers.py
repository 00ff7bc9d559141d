"""An update has the penalty's gradient once, with any trainer and number of accumulated batches."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from goft_cli import GoftConfig, PenaltyMixin
from goft_cli.tasks.instruction import PadRight
from goft_cli.training.trainer import PenaltyTrainer
from tests.support.decoders import random_llama, random_rows
from tests.support.short_training import rows as classified_rows
from tests.support.short_training import tiny_bert

WEIGHT = 20.0
ROWS = 8
TARGETS = r".*\.(query|value|q_proj|o_proj)"
# float32 sums in another order; the penalty's gradient is at least as large as the task's.
TOLERANCE = 64 * torch.finfo(torch.float32).eps

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


Build = Callable[[], tuple[nn.Module, Dataset, Any]]


class MixedIn(PenaltyMixin, Trainer):
    """A trainer as a user defines it."""


class Gradients(TrainerCallback):
    """Records the gradients of an update."""

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}

    def on_pre_optimizer_step(
        self,
        *args: object,
        model: nn.Module,
        **kwargs: object,
    ) -> None:
        """Copy the gradients before the optimizer uses them."""
        named = model.named_parameters()
        self.found = {name: p.grad.clone() for name, p in named if p.grad is not None}


def classifier() -> tuple[nn.Module, Dataset, Any]:
    """Return a classifier marked as one that ignores `num_items_in_batch`, and its rows."""
    return tiny_bert(), classified_rows(ROWS), None


def unmarked_classifier() -> tuple[nn.Module, Dataset, Any]:
    """Return the classifier without the mark: Trainer assumes that it uses `num_items_in_batch`."""
    model, rows, collate = classifier()
    del model.accepts_loss_kwargs
    return model, rows, collate


def decoder() -> tuple[nn.Module, Dataset, Any]:
    """Return a decoder, whose loss is per token, and rows with very different numbers of tokens."""
    lengths = [(1 + index % 5, 1 + (5 * index) % 13) for index in range(ROWS)]
    return random_llama(), Dataset.from_list(random_rows(lengths)), PadRight(0)


def trained(
    kind: type[Trainer],
    build: Build,
    weight: float,
    *,
    accumulate: int = 1,
    folder: Path,
    **options: Any,  # noqa: ANN401
) -> tuple[PeftModel, dict[str, Tensor], dict[str, float]]:
    """Train for one update; return the model, its gradients and what was logged."""
    base, rows, collate = build()
    torch.manual_seed(5)
    config = GoftConfig(
        method="qgoft", penalty_weight=weight, init_weights=False, target_modules=TARGETS
    )
    model = get_peft_model(base, config)  # pyright: ignore[reportArgumentType] - any Module
    values: dict[str, Any] = {
        "per_device_train_batch_size": ROWS // accumulate,
        "gradient_accumulation_steps": accumulate,
        "max_steps": 1,
        "learning_rate": 0.0,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "label_names": ["labels"],
        "train_sampling_strategy": "sequential",
        **options,
    }
    seen = Gradients()
    arguments = TrainingArguments(str(folder), **values)
    trainer = kind(model, arguments, train_dataset=rows, data_collator=collate, callbacks=[seen])
    trainer.train()
    return model, seen.found, trainer.state.log_history[0]


def gradient_by_hand(block: Tensor) -> Tensor:
    """Return the gradient of WEIGHT * sum (a1 b1 + a2 b2)^2."""
    a1, b1, a2, b2 = block.detach().reshape(-1, 4).unbind(-1)
    product = (a1 * b1 + a2 * b2).unsqueeze(-1)
    return (2 * WEIGHT * torch.stack((b1, a1, b2, a2), -1) * product).view(-1, 2, 2)


@cache
def without_penalty(build: Build, accumulate: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return gradients and log of the task loss alone, which are the same for all trainers."""
    with tempfile.TemporaryDirectory() as folder:
        return trained(Trainer, build, 0.0, accumulate=accumulate, folder=Path(folder))[1:]


@pytest.mark.parametrize("kind", [Trainer, MixedIn, PenaltyTrainer])
@pytest.mark.parametrize(
    ("build", "accumulate"),
    [(classifier, 1), (classifier, 2), (unmarked_classifier, 2), (decoder, 1), (decoder, 4)],
)
def test_an_update_has_it_once(
    kind: type[Trainer], build: Build, accumulate: int, tmp_path: Path
) -> None:
    model, found, logged = trained(kind, build, WEIGHT, accumulate=accumulate, folder=tmp_path)
    without, plain = without_penalty(build, accumulate)
    blocks = {name: p for name, p in model.named_parameters() if "goft_rotation" in name}
    assert blocks
    for name, block in blocks.items():
        expected = without[name] + gradient_by_hand(block)
        torch.testing.assert_close(found[name], expected, rtol=TOLERANCE, atol=TOLERANCE)
    if issubclass(kind, PenaltyMixin):
        assert logged["loss"] == pytest.approx(plain["loss"], rel=1e-5)
    else:
        assert logged["loss"] > plain["loss"] + 1


def squared(outputs: Any, labels: Tensor, num_items_in_batch: Tensor) -> Tensor:  # noqa: ANN401
    """Return a user-defined loss, divided by the number of items of the update."""
    return (outputs.logits[:, 0] - labels).square().sum() / num_items_in_batch


@pytest.mark.parametrize("outside", [{"label_smoothing_factor": 0.1}, {}], ids=["smooth", "own"])
def test_a_loss_outside_of_the_model(outside: dict[str, float], tmp_path: Path) -> None:
    class WithFunction(MixedIn):
        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
            given = {} if outside else {"compute_loss_func": squared}
            super().__init__(*args, **kwargs, **given)

    options = {"accumulate": 2, "folder": tmp_path, **outside}
    model, found, _ = trained(WithFunction, classifier, WEIGHT, **options)
    _, without, _ = trained(WithFunction, classifier, 0.0, **options)
    for name, block in model.named_parameters():
        if "goft_rotation" in name:
            expected = without[name] + gradient_by_hand(block)
            torch.testing.assert_close(found[name], expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_trainer_that_ignores_the_models_loss_is_warned(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="qGOFT.*PenaltyMixin"):
        trained(Trainer, classifier, WEIGHT, folder=tmp_path, label_smoothing_factor=0.1)
