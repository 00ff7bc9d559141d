"""A small training problem for tests, in one process or as one of two ranks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DefaultDataCollator,
    TrainingArguments,
    set_seed,
)

from goft_cli.models.adalora import separate_penalty
from goft_cli.training.callbacks import EpochRate
from goft_cli.training.trainer import PenaltyTrainer
from goft_cli.training.weighted_loss import WeightedLoss
from goft_cli.tuner import GoftConfig

TARGETS = ["query", "value", "intermediate.dense"]
PENALTY_WEIGHT = 0.3
GLOBAL_BATCH = 8
STEPS = 6
WEIGHTED = "weighted"
"""qGOFT with a loss in which the second class counts four times as much."""
WEIGHTS = np.array([0.5, 2.0])
SHARED = ("goft", "qgoft", "lora", WEIGHTED)
"""The methods that two ranks train."""


def tiny_bert() -> BertForSequenceClassification:
    """Return a BERT of two blocks of width 16 with random weights and no dropout."""
    set_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForSequenceClassification(config)
    object.__setattr__(model, "accepts_loss_kwargs", False)
    return model


def adapted(method: str) -> PeftModel:
    """Attach an adapter with random weights to the tiny model, so that a penalty is not zero."""
    shared = {"target_modules": TARGETS, "task_type": "SEQ_CLS"}
    if method == "lora":
        config = LoraConfig(r=2, init_lora_weights=False, **shared)
    elif method == "adalora":
        budget = {"init_r": 3, "target_r": 2, "orth_reg_weight": PENALTY_WEIGHT}
        schedule = {"total_step": STEPS, "tinit": 1, "tfinal": 2}
        config = AdaLoraConfig(init_lora_weights=False, **budget, **schedule, **shared)
    else:
        config = GoftConfig(
            method="qgoft" if method == "qgoft" else "goft",
            penalty_weight=PENALTY_WEIGHT if method == "qgoft" else None,
            init_weights=False,
            **shared,
        )
    return separate_penalty(get_peft_model(tiny_bert(), config))


def rows(count: int = GLOBAL_BATCH * STEPS) -> Dataset:
    """Return random token ids with a label that depends on the first of them."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 50, (count, 8), generator=generator)
    return Dataset.from_dict({"input_ids": ids.tolist(), "labels": (ids[:, 0] % 2).tolist()})


def trainer(
    model: PeftModel,
    *,
    batch: int,
    accumulate: int = 1,
    rate: EpochRate | None = None,
    **options: object,
) -> PenaltyTrainer:
    """Return a trainer with plain SGD, which does not amplify small differences of gradients."""
    values: dict[str, object] = {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulate,
        "max_steps": STEPS,
        "learning_rate": 0.05,
        "optim": "sgd",
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "label_names": ["labels"],
        **options,
    }
    arguments = TrainingArguments(**values)  # pyright: ignore[reportArgumentType] - a mixed dict
    return PenaltyTrainer(
        model=model,
        args=arguments,
        train_dataset=rows(),
        data_collator=DefaultDataCollator(),
        rate=rate,
    )


def evaluation_loss(one: PenaltyTrainer) -> float:
    """Return the loss on the first global batch, as an evaluation logs it."""
    first = cast("torch.utils.data.Dataset[Any]", rows(GLOBAL_BATCH))
    return one.evaluate(first)["eval_loss"]


def trained_weights(method: str, *, batch: int, accumulate: int = 1) -> dict[str, torch.Tensor]:
    """Train and return the adapter's tensors."""
    model = adapted("qgoft" if method == WEIGHTED else method)
    one = trainer(model, batch=batch, accumulate=accumulate)
    one.compute_loss_func = WeightedLoss(WEIGHTS) if method == WEIGHTED else None
    one.train()
    return {key: value.clone() for key, value in get_peft_model_state_dict(model).items()}


def train_as_rank(output: Path) -> None:
    """Train as one of two ranks, with and without accumulation; rank 0 saves the weights."""
    weights = {
        f"{method}/{accumulate}/{key}": value.contiguous()
        for method in SHARED
        for accumulate in (1, 2)
        for key, value in trained_weights(
            method, batch=GLOBAL_BATCH // (2 * accumulate), accumulate=accumulate
        ).items()
    }
    if torch.distributed.get_world_size() != 2:
        raise SystemExit(f"expected 2 ranks, found {torch.distributed.get_world_size()}")
    if torch.distributed.get_rank() == 0:
        save_file(weights, output)
    torch.distributed.destroy_process_group()
