"""A trained run, opened again from its folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import PeftModel
from torch import nn
from transformers import TrainingArguments

from goft_cli.adapter_loading import load_trained
from goft_cli.backbone import Backbone, load_backbone
from goft_cli.config import TRAIN_SAMPLE, TrainConfig
from goft_cli.errors import GoftError
from goft_cli.evaluation import run_model
from goft_cli.runs.run_folder import RunFolder, read_config, read_json
from goft_cli.tasks import build_task
from goft_cli.tasks.base import AnsweringTask, Arrays, Split, Task
from goft_cli.training.trainer import training_arguments


@dataclass(frozen=True)
class TrainedRun:
    """Everything needed to use a run: its configuration, task, processor and adapted model."""

    cfg: TrainConfig
    folder: RunFolder
    task: Task[Any, Any]
    backbone: Backbone
    model: PeftModel

    def mergeable(self) -> PeftModel:
        """Return the adapted model on plain weights: its own, or what its packed ones hold."""
        if self.cfg.model.quantization is None:
            return self.model
        plain = load_backbone(self.cfg.model, self.task, unpacked=True)
        return load_trained(plain, self.folder.adapter, self.cfg, self.task.auto_class)

    def arguments(self, batch_size: int) -> TrainingArguments:
        """Return how to run the model: the run's precision, this batch size."""
        trainer = replace(self.cfg.trainer, per_device_eval_batch_size=batch_size)
        return training_arguments(replace(self.cfg, trainer=trainer), self.folder, self.task)

    def sample(self, count: int) -> dict[str, Split]:
        """Return up to `count` encoded rows of the headline's split, spread over it evenly.

        Raises:
            GoftError: the task's data is not there or cannot be read.
        """
        config = self.task.config
        name = config.headline_split
        source = config.train_split if name == TRAIN_SAMPLE else name
        rows = self.task.load_splits([source]).splits[source]
        chosen = rows.select(range(0, len(rows), max(1, len(rows) // count))[:count])
        return {name: Split(chosen, self.task.encode(chosen, self.backbone.processor))}

    def outputs(
        self, model: nn.Module, splits: dict[str, Split], batch_size: int
    ) -> dict[str, Arrays]:
        """Run the adapted model, or another in its place, over encoded rows."""
        collate = self.task.collate(self.backbone.processor)
        return run_model(model, self.task, splits, collate, self.arguments(batch_size))

    def predict(
        self, rows: Dataset, *, batch_size: int, max_new_tokens: int
    ) -> list[dict[str, Any]]:
        """Return one readable prediction per raw row, in words of the model's own or decoded.

        Raises:
            GoftError: a row leaves no room for an answer.
        """
        task, processor = self.task, self.backbone.processor
        if isinstance(task, AnsweringTask):
            model = self.model.to(self.arguments(batch_size).device).eval()
            lengths = {"batch_size": batch_size, "max_new_tokens": max_new_tokens}
            return task.answer(model, rows, processor, **lengths)
        split = Split(rows, task.encode(rows, processor))
        found = self.outputs(self.model, {"input": split}, batch_size)
        return task.decode(found["input"], split)


def find_run(adapter: str) -> RunFolder:
    """Find the run that a path belongs to: the run folder itself, or its adapter folder.

    Raises:
        GoftError: neither; or the run is not finished.
    """
    path = Path(adapter).expanduser()
    for candidate in (path, path.parent):
        folder = RunFolder(candidate)
        if folder.config.is_file():
            if folder.finished:
                return folder
            if folder.is_run:
                found = "is not finished" if folder.began else "ended before its training began"
                raise GoftError(
                    f"adapter={adapter}: the run {found}; start its goft train command again"
                )
    raise GoftError(
        f"adapter={adapter}: no run of goft train there (no config.yaml); pass a folder such as "
        "outputs/TASK/MODEL/ADAPTER/RUN"
    )


def open_trained(
    adapter: str, *, base_model: str | None, data_dir: str | None = None
) -> TrainedRun:
    """Load base model and adapter of a finished run.

    Args:
        adapter: the run folder.
        base_model: where its base model is now, if not where it was.
        data_dir: where its data is now, if not where it was.

    Raises:
        GoftError: no such run, or the base model is not the one it was trained on.
    """
    folder = find_run(adapter)
    cfg = read_config(folder.config)
    if base_model is not None:
        cfg = replace(cfg, model=replace(cfg.model, path=base_model))
    if data_dir is not None:
        cfg = replace(cfg, task=replace(cfg.task, data_dir=data_dir))
    manifest = read_json(folder.manifest)
    task = build_task(cfg.task).respelled(manifest.get("data") or {})
    cfg = replace(cfg, task=task.config)
    backbone = load_backbone(cfg.model, task)
    expected = (manifest.get("model") or {}).get("fingerprint")
    if expected is None:
        raise GoftError(
            f"{folder.manifest}: no fingerprint of the base model in it; copy the run folder again"
        )
    if backbone.fingerprint != expected:
        raise GoftError(
            f"adapter={adapter} was trained on other weights than {cfg.model.path} now holds "
            f"({expected[:12]} then, {backbone.fingerprint[:12]} now); pass base_model=PATH of "
            "the original"
        )
    model = load_trained(backbone, folder.adapter, cfg, task.auto_class)
    return TrainedRun(cfg, folder, task, backbone, model)
