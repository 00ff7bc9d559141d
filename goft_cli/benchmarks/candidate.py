"""The model that `goft eval` scores on a benchmark: a trained run, or a plain model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from accelerate import PartialState
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from goft_cli.config import EvalConfig, ModelConfig
from goft_cli.config.model import real_name
from goft_cli.models.adapters import merge
from goft_cli.models.backbone import load_backbone
from goft_cli.run.trained import open_trained
from goft_cli.tasks.benchmark import Benchmark, require_kind


@dataclass(frozen=True)
class Candidate:
    """A model to score.

    Attributes:
        model: on its device.
        tokenizer: of the model.
        folder: where its results go.
        identity: what says in the results which model it is.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    identity: dict[str, Any]


def open_candidate(cfg: EvalConfig, benchmark: Benchmark[Any], *, merged: bool) -> Candidate:
    """Load the run or the plain model that `goft eval` was given."""
    if cfg.model is not None:
        found = open_model(cfg.model, benchmark)
    else:
        found = open_run(str(cfg.adapter), cfg.base_model, benchmark, merged=merged)
    cast("nn.Module", found.model).to(PartialState().device)
    return found


def open_run(
    adapter: str, base_model: str | None, benchmark: Benchmark[Any], *, merged: bool
) -> Candidate:
    """Load a trained run, its adapter on the model or merged into it."""
    run = open_trained(adapter, base_model=base_model)
    require_kind(benchmark, run.task.auto_class, f"adapter={adapter}")
    identity = {
        "model": real_name(run.cfg.model),
        "adapter": str(run.folder.path),
        "merged": merged,
        "fingerprint": run.backbone.fingerprint,
    }
    # a PeftModel answers as the model that it wraps
    model = cast("PreTrainedModel", merge(run.mergeable()) if merged else run.model)
    return Candidate(model, run.backbone.processor, run.folder.path, identity)


def open_model(cfg: ModelConfig, benchmark: Benchmark[Any]) -> Candidate:
    """Load a plain model."""
    backbone = load_backbone(cfg, benchmark)
    folder = Path("outputs", benchmark.config.name, cfg.name)
    identity = {"model": real_name(cfg), "adapter": None, "fingerprint": backbone.fingerprint}
    return Candidate(backbone.model, backbone.processor, folder, identity)
