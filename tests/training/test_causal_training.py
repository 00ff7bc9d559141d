"""Training a causal language model does not depend on how an update is split into batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from torch import Tensor
from transformers import DataCollatorWithFlattening, TrainingArguments

from goft_cli.config import GoftAdapterConfig, InstructionConfig, Method
from goft_cli.models.adapters import attach_adapter
from goft_cli.models.backbone import Backbone
from goft_cli.tasks.base import Split
from goft_cli.tasks.instruction import Instruction, PadRight
from goft_cli.training.evaluation import run_model
from goft_cli.training.trainer import EncodedData, PenaltyTrainer, build_trainer
from tests.support.decoders import logits_of, random_llama, random_rows

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]
STEPS = 2
# Answers of 1 to 13 tokens, so that a mean of means is far from the mean of all tokens.
LENGTHS = [(1 + index % 5, 1 + (5 * index) % 13) for index in range(8 * STEPS)]
# Plain SGD: each update adds the rounding error of gradients that are summed in another order.
TOLERANCE = 64 * STEPS * torch.finfo(torch.float32).eps


def rows() -> Dataset:
    return Dataset.from_list(random_rows(LENGTHS))


def task() -> Instruction:
    config = InstructionConfig(name="made-up", eval_splits=["validation"])
    return Instruction(config)


def adapted() -> PeftModel:
    """Attach qGOFT to the decoder and add noise, so that the penalty is not zero."""
    config = GoftAdapterConfig(
        name="qgoft", method=Method.qgoft, penalty_weight=0.3, target_modules=TARGETS
    )
    backbone = Backbone(random_llama(), None, "")
    model = attach_adapter(backbone, config, [], "AutoModelForCausalLM", updates=1)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def trainer(
    model: PeftModel, collate: Callable[..., Any], most: int | None = None, **options: object
) -> PenaltyTrainer:
    values: dict[str, Any] = {
        "output_dir": "unused",
        "max_steps": STEPS,
        "learning_rate": 0.05,
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": 8,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        **options,
    }
    data = EncodedData(rows(), {"validation": Split(rows(), rows())}, collate)
    arguments = TrainingArguments(**values)
    return build_trainer(model, task(), data, None, arguments, most_tokens=most)


def trained(
    collate: Callable[..., Any], most: int | None = None, **options: object
) -> dict[str, Tensor]:
    model = adapted()
    trainer(model, collate, most, **options).train()
    return {key: value.clone() for key, value in get_peft_model_state_dict(model).items()}


@pytest.mark.slow
def test_sharing_an_update_out_otherwise_leads_to_the_same_weights() -> None:
    pad, pack = PadRight(0), DataCollatorWithFlattening()
    whole, start = trained(pad), get_peft_model_state_dict(adapted())
    thrifty = {"gradient_checkpointing": True}
    for collate, steps, more in ((pad, 2, {}), (pad, 4, {}), (pack, 1, thrifty), (pack, 4, {})):
        sizes = {"per_device_train_batch_size": 8 // steps, "gradient_accumulation_steps": steps}
        found = trained(collate, **sizes, **more)
        for name, tensor in whole.items():
            torch.testing.assert_close(found[name], tensor, rtol=TOLERANCE, atol=TOLERANCE)
    assert any((whole[name] - start[name]).abs().max() > 100 * TOLERANCE for name in whole)


@pytest.mark.slow
def test_a_batch_in_parts_leads_to_the_same_weights() -> None:
    whole = trained(PadRight(0))
    for most in (1, 40):
        parts = trained(PadRight(0), most)
        for name, tensor in whole.items():
            torch.testing.assert_close(parts[name], tensor, rtol=TOLERANCE, atol=TOLERANCE)


def alone(model: PeftModel) -> list[float]:
    """Return each row's mean loss, computed from its own logits."""
    losses = []
    for row in rows().to_list():
        logits, labels = logits_of(model, row), torch.tensor(row["labels"])
        losses.append(torch.nn.functional.cross_entropy(logits[:-1], labels[1:]).item())
    return losses


@pytest.mark.parametrize(
    "collate", [PadRight(0), DataCollatorWithFlattening()], ids=["pad", "pack"]
)
@pytest.mark.parametrize("order", ["random", "group_by_length"])
def test_the_evaluation_is_each_rows_own_whatever_the_batches(
    collate: Callable[..., Any], order: str
) -> None:
    model = adapted().eval()
    one = trainer(model, collate, train_sampling_strategy=order, per_device_eval_batch_size=5)
    split = Split(rows(), rows())
    outputs = run_model(model, task(), {"split": split}, collate, one.args)["split"]
    decoded = task().decode(outputs, split)
    assert [row["loss"] for row in decoded] == pytest.approx(alone(model), rel=1e-5)
    assert [row["tokens"] for row in decoded] == [answer for _, answer in LENGTHS]
    score = task().score(outputs, split)
    weights = [answer for _, answer in LENGTHS]
    assert score["loss"] == pytest.approx(np.average(alone(model), weights=weights), rel=1e-5)
    # The best checkpoint is chosen by this number too, not by Trainer's mean over batches.
    logged = one.evaluate()
    assert logged["eval_loss"] == pytest.approx(score["loss"], rel=1e-6)


def test_a_packed_epoch_has_the_loss_of_all_its_tokens() -> None:
    model = adapted().eval()
    weights = [answer for _, answer in LENGTHS]
    options = {"learning_rate": 1e-12, "per_device_train_batch_size": len(LENGTHS), "max_steps": 1}
    one = trainer(model, DataCollatorWithFlattening(), **options)
    one.train()
    expected = np.average(alone(model), weights=weights)
    assert one.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-5)


def spread(order: str) -> list[int]:
    """Return the range of the row lengths in each batch of an epoch, with a sampling strategy."""
    sizes = {"per_device_train_batch_size": 2, "train_sampling_strategy": order}
    one, spreads, seen = trainer(adapted(), PadRight(0), **sizes), [], []
    for batch in one.get_train_dataloader():
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        spreads.append(max(lengths) - min(lengths))
        seen += lengths
    assert sorted(seen) == sorted(map(sum, LENGTHS)), "every row once"
    return spreads


def test_rows_of_like_length_come_together() -> None:
    assert sum(spread("group_by_length")) < sum(spread("sequential"))


def test_the_order_by_length_follows_from_seed_and_epoch_alone() -> None:
    sizes = {"per_device_train_batch_size": 2, "train_sampling_strategy": "group_by_length"}

    def order(*, epoch: float, drawn: int, seed: int = 0) -> list[int]:
        one = trainer(adapted(), PadRight(0), seed=seed, **sizes)
        one.state.epoch = epoch
        torch.manual_seed(drawn)
        found = one._get_train_sampler()
        assert found is not None
        return list(found)

    first = order(epoch=0, drawn=1)
    assert sorted(first) == list(range(len(LENGTHS)))
    assert order(epoch=0.9, drawn=2) == first
    assert order(epoch=1, drawn=1) == order(epoch=1.5, drawn=2) != first
    assert order(epoch=0, drawn=1, seed=7) != first
