"""Opened runs with an untrained adapter, as it is initialised or with noise added."""

from __future__ import annotations

from pathlib import Path

import torch

from goft_cli.models.adapters import attach_adapter
from goft_cli.models.backbone import load_backbone
from goft_cli.models.heads import head_of
from goft_cli.run.folder import RunFolder
from goft_cli.run.trained import TrainedRun
from goft_cli.tasks.families import build_task
from tests.support.small_runs import composed


def untrained(*words: str) -> TrainedRun:
    """Return a run with an adapter as `goft train` attaches it; no folder is written."""
    cfg = composed([*words, "trainer.use_cpu=true", "output_dir=none"])
    task = build_task(cfg.task)
    torch.manual_seed(0)
    backbone = load_backbone(cfg.model, task)
    head = head_of(backbone.model, cfg.model)
    model = attach_adapter(backbone, cfg.adapter, head, task.auto_class, 100).eval()
    return TrainedRun(cfg, RunFolder(Path("none")), task, backbone, model, {}, other_data=True)


@torch.no_grad()
def moved(run: TrainedRun, deviation: float = 0.1) -> TrainedRun:
    """Add noise to all trainable parameters."""
    generator = torch.Generator().manual_seed(1)
    for parameter in run.model.parameters():
        if parameter.requires_grad:
            parameter += deviation * torch.randn(parameter.shape, generator=generator)
    return run
