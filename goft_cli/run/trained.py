"""A trained run, opened again from its folder."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch import nn
from transformers import TrainingArguments

from goft_cli.config import (
    HELD_OUT,
    TRAIN_SAMPLE,
    ChatConfig,
    Decoding,
    ImageClassificationConfig,
    TaskConfig,
    TrainConfig,
)
from goft_cli.config.task import OwnDataConfig
from goft_cli.data.own import TRAIN, find_files
from goft_cli.data.own_images import find_images, in_classes, moved
from goft_cli.models.adapter_loading import load_trained
from goft_cli.models.backbone import Backbone, load_backbone
from goft_cli.run import provenance
from goft_cli.run.configuration import read_config
from goft_cli.run.folder import RunFolder
from goft_cli.run.record import find_run
from goft_cli.system.digests import digests
from goft_cli.system.errors import GoftError
from goft_cli.system.files import read_json
from goft_cli.system.snapshots import COMMIT
from goft_cli.tasks.base import AnsweringTask, Arrays, Split, Task, TaskData, chunks
from goft_cli.tasks.families import build_task
from goft_cli.training.evaluation import run_model
from goft_cli.training.trainer import training_arguments

logger = logging.getLogger(__name__)

PREDICTED_ROWS = 10_000
"""Rows that are encoded, sorted by length and run at a time."""
ANSWERED_BATCHES = 8
"""Batches of rows at a time if the model generates text, which takes far longer."""


@dataclass(frozen=True)
class TrainedRun:
    """Everything needed to use a run."""

    cfg: TrainConfig
    """With the present paths of model and data."""
    folder: RunFolder
    task: Task[Any, Any]
    backbone: Backbone
    model: PeftModel
    """The adapter on the base model."""
    manifest: Mapping[str, Any]
    other_data: bool = False
    """Whether the user named another folder of data than the run's own."""
    strength: float = 1.0
    """Strength at which the adapter was opened."""

    @property
    def at(self) -> str:
        """Return the strength for a title; nothing at full strength."""
        return "" if self.strength == 1 else f" at strength {self.strength:g}"

    def load_splits(self, names: Sequence[str]) -> TaskData:
        """Read splits of the task's data."""
        data = self.task.load_some(names)
        if not self.other_data:
            changes = self.data_changes(data)
            provenance.require_unchanged(changes, self.folder.path, provenance.OTHER_DATA)
        return data

    def data_changes(self, data: TaskData) -> list[provenance.Change]:
        """Compare the content of data that was read with what the run read."""
        recorded = provenance.section(self.manifest, "data")
        return provenance.data_changes(recorded, data.provenance, all_splits=False)

    def read_same(self, data: TaskData) -> bool | None:
        """Tell whether data is what the run read; None if the record cannot be compared."""
        recorded = provenance.section(self.manifest, "data")
        known = provenance.are_comparable(recorded, data.provenance)
        return not self.data_changes(data) if known else None

    def mergeable(self) -> PeftModel:
        """Return the adapted model on plain weights; quantized ones are dequantized."""
        if self.cfg.model.quantization is None:
            return self.model
        plain = load_backbone(self.cfg.model, self.task, unpacked=True)
        return load_trained(
            plain, self.folder.adapter, self.cfg, self.task.auto_class, self.strength
        )

    def arguments(self, batch_size: int) -> TrainingArguments:
        """Return how to run the model: the run's precision, this batch size.

        Precisions that this machine lacks give way to float32.
        """
        trainer = replace(self.cfg.trainer, per_device_eval_batch_size=batch_size)
        if not torch.cuda.is_available():
            trainer = replace(trainer, tf32=None)
        if not torch.accelerator.is_available():
            trainer = replace(trainer, use_cpu=True, fp16=False)
        return training_arguments(
            replace(self.cfg, trainer=trainer), self.folder.checkpoints, self.task
        )

    def sample(self, count: int) -> dict[str, Split]:
        """Return up to `count` encoded rows of the headline's split, spread over it evenly."""
        config = self.task.config
        name = config.headline_split
        source = config.train_split if name == TRAIN_SAMPLE else name
        rows = self.load_splits([source]).splits[source]
        chosen = rows.select(spread(len(rows), count))
        return {name: self.task.split(chosen, self.backbone.processor)}

    def outputs(
        self, model: nn.Module, splits: dict[str, Split], batch_size: int
    ) -> dict[str, Arrays]:
        """Run the adapted model, or another in its place, over encoded rows."""
        collate = self.task.collate(self.backbone.processor)
        return run_model(model, self.task, splits, collate, self.arguments(batch_size))

    def unfit_rows(self, rows: Dataset) -> dict[int, str]:
        """Return, by row index, why the model cannot predict on a row."""
        return self.task.unfit_rows(rows, self.model, self.backbone.processor)

    def predict(
        self,
        rows: Dataset,
        *,
        batch_size: int,
        decoding: Decoding,
        left_out: Collection[int] = (),
    ) -> Iterator[tuple[range, list[dict[str, Any] | None]]]:
        """Yield the indices of some rows at a time, and a readable prediction for each.

        A prediction is None for an index in `left_out` and for a damaged row.
        """
        for part in self.parts(len(rows), batch_size):
            numbers = [number for number in part if number not in left_out]
            found = self.predicted(rows, numbers, batch_size, decoding)
            yield part, [found.get(number) for number in part]

    def parts(self, total: int, batch_size: int) -> Iterator[range]:
        """Split the row indices into those that are predicted at a time."""
        answers = isinstance(self.task, AnsweringTask)
        most = min(PREDICTED_ROWS, ANSWERED_BATCHES * batch_size) if answers else PREDICTED_ROWS
        return chunks(total, most)

    def predicted(
        self, rows: Dataset, numbers: Sequence[int], batch_size: int, decoding: Decoding
    ) -> dict[int, dict[str, Any] | None]:
        """Return readable predictions by row index: generated texts, or decoded outputs."""
        if not numbers:
            return {}
        task, processor, some = self.task, self.backbone.processor, rows.select(numbers)
        if isinstance(task, AnsweringTask):
            model = self.model.to(self.arguments(batch_size).device).eval()
            options: dict[str, Any] = {"batch_size": batch_size, "decoding": decoding}
            found = task.answer(model, some, processor, **options, numbers=numbers)
        else:
            # which rows are damaged is noted in this process
            trainer = replace(self.cfg.trainer, dataloader_num_workers=0)
            run = replace(self, cfg=replace(self.cfg, trainer=trainer))
            split = Split(some, task.encode(some, processor))
            outputs = run.outputs(self.model, {"input": split}, batch_size)
            found = task.decode(outputs["input"], split)
        return dict(zip(numbers, found, strict=True))


def open_trained(
    adapter: str,
    *,
    base_model: str | None,
    data_dir: str | None = None,
    strength: float | None = None,
) -> TrainedRun:
    """Load base model and adapter of a finished run.

    `base_model` and `data_dir` are where its base model and its data are now, if they have moved.
    `strength` is how much of the adapter is used; by default what the run's configuration says.
    """
    folder, manifest, cfg, task = read_run(adapter, base_model, data_dir)
    check_base(manifest, cfg, folder, moved=base_model is not None)
    backbone = load_backbone(cfg.model, task)
    check_fingerprint(manifest, backbone, cfg, adapter)
    strength = cfg.adapter.strength if strength is None else strength
    model = load_trained(backbone, folder.adapter, cfg, task.auto_class, strength)
    # after loading, since the error of loading says what is wrong in a damaged file
    changes = provenance.adapter_changes(manifest, folder)
    provenance.require_unchanged(changes, folder.path, provenance.COPY_RUN)
    parts = cfg, folder, task, backbone, model, manifest
    return TrainedRun(*parts, other_data=data_dir is not None, strength=strength)


def read_run(
    adapter: str, base_model: str | None = None, data_dir: str | None = None
) -> tuple[RunFolder, dict[str, Any], TrainConfig, Task[Any, Any]]:
    """Read what a finished run recorded, and build its task; no model is loaded."""
    folder = find_run(adapter)
    manifest = read_json(folder.manifest)
    cfg = placed(read_config(folder.config), manifest, base_model, data_dir)
    task = build_task(cfg.task).respelled(provenance.section(manifest, "data"))
    if isinstance(task.config, ChatConfig) and folder.template.is_file():
        task = build_task(replace(task.config, template=str(folder.template)))
    return folder, manifest, replace(cfg, task=task.config), task


def placed(
    cfg: TrainConfig, manifest: Mapping[str, Any], base_model: str | None, data_dir: str | None
) -> TrainConfig:
    """Return a run's configuration with the present paths of its model and its data.

    From the hub, a run reads the commits that it was trained on.
    """
    model, task = cfg.model, cfg.task
    if base_model is not None:
        model = replace(model, path=base_model)
    elif commit := commit_of(provenance.section(manifest, "model"), model.path):
        model = replace(model, revision=model.revision or commit)
    if data_dir is not None and task.own and (whole := whole_place(task, data_dir, manifest)):
        kept = task.data_dir if task.place.exists() else data_dir
        task = replace(task, data_dir=kept, own=replace(task.own, validation=str(whole)))
    elif data_dir is not None:
        own = task.own and moved(task, task.own, Path(data_dir).expanduser())
        task = replace(task, data_dir=data_dir, own=own)
    elif (dataset := task.remote_dataset) is not None:
        commit = commit_of(provenance.section(manifest, "data"), dataset.id)
        dataset = replace(dataset, revision=dataset.revision or commit)
        task = replace(task, dataset=dataset)
    return replace(cfg, model=model, task=task)


def whole_place(task: TaskConfig, data_dir: str, manifest: Mapping[str, Any]) -> Path | None:
    """Return the file or folder of other data without a validation split, to score it whole.

    The run's own data, if it has only moved, is split as before.
    """
    place, plain = Path(data_dir).expanduser(), OwnDataConfig()
    if isinstance(task, ImageClassificationConfig):
        places = find_images(place, plain)
        whole = places[TRAIN]
        files = [path for path, _ in in_classes(whole)] if whole.is_dir() else [whole]
    else:
        places = find_files(place, plain)
        files = places[TRAIN]
        whole = files[0]
    known = provenance.section(provenance.section(manifest, "data"), "sha256").values()
    same = {*digests(files).values()} <= {*known}
    return None if same or HELD_OUT in places or (whole in files and files[1:]) else whole


def commit_of(recorded: Mapping[str, Any], name: str) -> str | None:
    """Return the commit of a model or data set of the hub that a run recorded."""
    source, revision = str(recorded.get("source")).split(" "), str(recorded.get("revision"))
    return revision if source[0] == name and COMMIT.fullmatch(revision) else None


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` different indices below `total`, spread evenly."""
    count = min(total, count)
    return [place * total // count for place in range(count)]


def check_base(
    manifest: Mapping[str, Any], cfg: TrainConfig, folder: RunFolder, *, moved: bool
) -> None:
    """Refuse a base model whose files have changed; warn of a moved one."""
    changes = provenance.base_on_disk(provenance.section(manifest, "model"), cfg.model)
    if moved and changes:
        logger.warning("%s since %s used it; its fingerprint decides", changes[0], folder.path)
    else:
        provenance.require_unchanged(changes, folder.path, provenance.OTHER_BASE)


def check_fingerprint(
    manifest: Mapping[str, Any], backbone: Backbone, cfg: TrainConfig, adapter: str
) -> None:
    """Refuse a base model with other weights."""
    expected = provenance.section(manifest, "model").get("fingerprint")
    if expected is None:
        raise GoftError(
            f"adapter={adapter}: no fingerprint of the base model in its manifest.json",
            "copy the run folder again",
        )
    if backbone.fingerprint != expected:
        raise GoftError(
            f"adapter={adapter} was trained on other weights than {cfg.model.path} now holds "
            f"({expected[:12]} then, {backbone.fingerprint[:12]} now)",
            "pass base_model=PATH of the original",
        )
